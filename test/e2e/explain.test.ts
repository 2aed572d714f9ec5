import { expect, test } from 'vitest';
import { runProgram } from '../support/processes.ts';
import { apply, createShop, receiver } from './shop.ts';
import { eventually, rulesFile, startSidecar } from './support.ts';

const rulesOf = (database: string, url: string, paid = 'new.status == "paid" && new.total > 1000') => `
version: 1
database: ${database}
sources:
  orders: { table: public.orders }
  signups: { topic: signups }
destinations: { hook: { webhook: { url: "${url}" }, retry: { attempts: 1 } } }
observers:
  big-paid:
    source: orders
    on: [update]
    when: '"status" in changed && ${paid}'
    actions: [{ webhook: hook }]
  created: { source: orders, on: [insert], actions: [{ webhook: hook, body: { order: "\${{ new.id }}" } }] }
  broken: { source: orders, when: 'new.status > 5', actions: [{ webhook: hook }] }
`;

const program = (...args: string[]) => runProgram(args);
const json = async (...args: string[]) => JSON.parse((await program(...args, '--json')).stdout);

test('explain: which part was false, what was sent and refused, rules of then, by uid and by number', {
  timeout: 120_000,
}, async () => {
  const database = await createShop('explain');
  await database.query('alter table public.orders add status text, add total numeric(12,2)');
  const hooks = await receiver({
    respond: (hook) => ({ status: hook.body.includes('"order":2') ? 400 : 200, body: 'no such order' }),
  });
  const rules = await rulesFile(rulesOf(database.url, hooks.url));
  await apply(rules);
  const sidecar = await startSidecar(rules);
  await database.query(`insert into orders values (1, 'x', 'open', 800.00), (2, 'x', 'open', 800.00)`);
  await database.query(`update orders set status = 'paid' where id = 1`);
  const { rows } = await eventually('three events with their outcomes', async () => {
    const found = await database.query<{ id: string; uid: string; operation: string; key: string }>(
      `select id::text, uid::text, operation, key from observers.events
       where (select count(*) from observers.attempts) = 2 and (select count(*) from observers.dead_letters) = 4 order by id`,
    );
    return found.rows.length === 3 && found;
  });
  await sidecar.kill('SIGTERM');
  const [first, second, update] = rows;

  const told = await program('explain', update?.uid ?? '', '-c', rules);
  expect(told).toMatchObject({ status: 0, stderr: '' });
  expect(told.stdout).toContain(`event ${update?.uid}  (${update?.id} in the log)\norders.update  key 1  captured 20`);
  expect(told.stdout).toContain(`big-paid  does not fire  ${rules}:9
  all of                   false
    "status" in changed    true   (changed is ["status"])
    new.status == "paid"   true   (new.status is "paid")
    new.total > 1000       false   (new.total is 800.00)
`);
  expect(told.stdout).toContain('created  does not fire');
  expect(told.stdout).toContain('listens to insert, and this is update');
  expect(told.stdout).toMatch(
    /broken {2}engine fault[^\n]*\n {2}new\.status > 5 {3}error {3}\(new\.status is "paid"\) {2}no such overload/,
  );
  expect(told.stdout).toMatch(/as when the event was routed/);
  expect(told.stdout).toMatch(/dead letter {2}broken +\d+ engine_fault/);

  const refused = await program('debug-event', second?.id ?? '', '-c', rules, '--observer', 'created');
  expect(refused.stdout).toMatch(/created {2}fires/);
  expect(refused.stdout).toMatch(/attempt 1 +created\/webhook-1 → hook {2}dead 400/);
  expect(refused.stdout).toMatch(/dead letter {2}created\/webhook-1 → hook {2}\d+ rejected/);
  expect(refused.stdout).not.toContain('broken');

  const delivered = await json('explain', first?.uid ?? '', '-c', rules);
  expect(delivered).toMatchObject({
    event: { uid: first?.uid, source: 'orders', operation: 'insert', new: { id: 1, total: 800 } },
    from: 'log',
    routed: true,
    observers: [
      { observer: 'big-paid', verdict: 'silent', listens: false, condition: null },
      { observer: 'created', verdict: 'fires', rule_versions_then: [expect.stringMatching(/^[0-9a-f]{12}$/)] },
      { observer: 'broken', verdict: 'fault' },
    ],
    attempts: [
      { observer: 'created', outcome: 'delivered', status: 200, rule_version: expect.stringMatching(/^[0-9a-f]{12}$/) },
    ],
  });

  // Other rules today.
  const later = await rulesFile(
    rulesOf(database.url, hooks.url, 'new.status == "paid" && new.total > 500').replace(
      '{ order: "${{ new.id }}" }',
      '{ id: "${{ new.id }}" }',
    ),
  );
  const changed = await program('explain', first?.uid ?? '', '-c', later);
  expect(changed.stdout).toMatch(
    /rule [0-9a-f]{12} today, [0-9a-f]{12} when the event was routed: the rule has changed/,
  );

  // Past retention: the copy of the dead letter, and where there is none, that it is gone.
  await database.query('delete from observers.events');
  const kept = await program('explain', second?.uid ?? '', '-c', rules);
  expect(kept).toMatchObject({ status: 0 });
  expect(kept.stdout).toMatch(/No longer in the log: this is the copy that dead letter \d+ keeps\./);
  expect(kept.stdout).toMatch(/created {2}fires/);
  await database.query('delete from observers.dead_letters');
  const gone = await program('explain', second?.uid ?? '', '-c', rules);
  expect(gone).toMatchObject({ status: 1, stdout: '' });
  expect(gone.stderr).toContain(
    'is not in the log, and no dead letter keeps a copy of it: it never was, or it is older than settings.retention.events (7 d here).',
  );
});

test('explain: what is not routed yet, and what is asked wrongly', { timeout: 120_000 }, async () => {
  const database = await createShop('explain_bad');
  await database.query('alter table public.orders add status text, add total numeric(12,2)');
  const rules = await rulesFile(rulesOf(database.url, 'http://127.0.0.1:9/'));
  await apply(rules);
  await database.query(`select observers.emit('signups', '{"n": 12345678901234567890.10}', 'k')`);
  const waiting = await program('explain', '1', '-c', rules);
  expect(waiting.stdout).toContain('signups.emit  key k');
  expect(waiting.stdout).toContain('Not routed yet');
  expect(waiting.stdout).toContain('No observer of the file observes signups.');
  expect(waiting.stdout).toContain('Nothing else is kept of it');
  expect((await program('explain', '1', '-c', rules, '--json')).stdout).toContain('"n": 12345678901234567890.10');

  expect(await program('explain', 'order-7', '-c', rules)).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('Write the uid of an event'),
  });
  expect(await program('explain', '1', '-c', rules, '--observer', 'big-payd')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('did you mean big-paid?'),
  });
  expect(await program('explain', '99', '-c', rules)).toMatchObject({ status: 1 });
  expect(await program('explain', '1', '-c', rules, '-d', 'postgres://127.0.0.1:1/x')).toMatchObject({ status: 3 });
});
