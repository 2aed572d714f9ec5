import { expect, test } from 'vitest';
import { type ProcessEnd, runProgram } from '../support/processes.ts';
import { apply, createShop, keyOf, receiver, shopRules } from './shop.ts';
import { eventually, rulesFile, startSidecar } from './support.ts';

const json = ({ stdout, stderr }: ProcessEnd) => {
  expect(stderr).toBe('');
  return JSON.parse(stdout);
};

test('destinations: list, show, disable and enable, with the sidecar running and without', async () => {
  const database = await createShop('cmd_destinations');
  const hook = await receiver();
  const url = hook.url.replace('//', '//me:s3cret-p4ss@');
  const policy =
    'rate_limit: 100/s, retry: { schedule: [1s, 5m], max_age: 3d }, outcomes: { disable: [401], reject: [410] }';
  const rules = await rulesFile(shopRules({ database: database.url, url: `${url}/in?token=s3cret-t0ken`, policy }));
  const run = (...args: string[]) => runProgram(['destinations', ...args, '-c', rules]);
  await apply(rules);

  // Nobody runs.
  const disabled = await run('disable', 'hook', '--reason', 'they move');
  expect(disabled).toMatchObject({
    status: 0,
    stdout: 'hook is disabled: 0 deliveries wait until `pg-observers destinations enable hook`.\n',
  });
  const sidecar = await startSidecar(rules);
  await sidecar.record('the log says so', ({ event }) => event === 'destination.disabled');
  await database.query("insert into public.orders values (1, 'a'), (2, 'b')");
  await eventually('two that wait', async () => {
    const { rows } = await database.query('select from observers.deliveries');
    return rows.length === 2;
  });
  const [waiting] = json(await run('list', '--json'));
  expect(waiting).toMatchObject({
    name: 'hook',
    kind: 'webhook',
    address: `${hook.url}/in?token=[redacted]`,
    state: 'disabled',
    disabled_by: 'person',
    reason: 'they move',
    paused_until: null,
    pending: 2,
    retrying: 0,
    estimated: false,
    oldest_due_at: expect.any(String),
    limits: {
      timeout_ms: 15_000,
      concurrency: 20,
      rate_limit: '100/s',
      retry: { attempts: 3, schedule_ms: [1_000, 300_000], initial_ms: null, jitter: 'none', max_age_ms: 259_200_000 },
      retry_after_max_ms: 3_600_000,
      circuit_breaker: null,
    },
  });
  const list = (await run('list')).stdout;
  expect(list).toMatch(
    /^DESTINATION +KIND +STATE +PENDING +OLDEST DUE +BREAKERS +ADDRESS\nhook +webhook +disabled +2 +.* ago +– +http/,
  );
  expect(json(await runProgram(['status', '-c', rules, '--json'])).held_destinations).toMatchObject([
    { destination: 'hook', state: 'disabled', disabled_by: 'person', reason: 'they move' },
  ]);
  expect(hook.received.total).toBe(0);

  // As an instance says it with its heartbeat; another one than that which runs, whose own would say that all are closed.
  await database.query(
    `insert into observers.instances (id, host, pid, version, rules_version, breakers)
     values (gen_random_uuid(), 'elsewhere', 7, '1', 'v', '[{"destination": "hook", "tenant": "acme", "state": "open"}]')`,
  );
  const shownDisabled = (await run('show', 'hook')).stdout;
  expect(shownDisabled).toMatch(/^breaker +open at elsewhere 7, for tenant acme$/m);

  // While it runs.
  expect(json(await run('enable', 'hook', '--json'))).toEqual({
    destination: 'hook',
    state: 'enabled',
    changed: true,
    pending: 2,
  });
  await hook.received.waitFor(2);
  expect(hook.received.entries.map(keyOf).sort()).toEqual(['1', '2']);
  await sidecar.record('the log says so', ({ event }) => event === 'destination.enabled');

  await eventually('the successes in the history', async () => {
    const { rows } = await database.query('select from observers.attempts');
    return rows.length === 2;
  });
  const shown = json(await run('show', 'hook', '--json'));
  expect(shown).toMatchObject({ last_success: { status: 204 }, last_failure: null, actions: ['created/webhook-1'] });
  expect(shown.outcomes).toEqual({
    success: ['2xx'],
    retry: ['3xx', '408', '409', '425', '429', '5xx', 'network'],
    reject: ['4xx', '410'],
    disable: ['401'],
  });
  const text = (await run('show', 'hook')).stdout;
  expect(text).toMatch(/^retry +3 attempts, after 1s, 5m, no jitter, for 3d at most$/m);
  expect(text + list + JSON.stringify(shown)).not.toContain('s3cret');

  expect(await run('disable', 'hok')).toMatchObject({
    status: 2,
    stderr: 'There is no destination hok  (did you mean hook?)  [PGO-DESTINATION]\n',
  });
}, 60_000);
