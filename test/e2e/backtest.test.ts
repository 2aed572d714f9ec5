import { expect, test } from 'vitest';
import { runProgram, startProgram, type TestProcess } from '../support/processes.ts';
import { apply, createShop, receiver } from './shop.ts';
import { eventually, rulesFile, startSidecar } from './support.ts';

const rulesOf = (database: string, url: string, least: number, more = '') => `
version: 1
database: ${database}
sources:
  orders: { table: public.orders }
  signups: { topic: signup_topic }
destinations: { hook: { webhook: { url: "${url}" }, retry: { attempts: 1 } }, away: { webhook: { url: "http://127.0.0.1:9/" } } }
observers:
  big: { source: orders, when: new.total > ${least}, actions: [{ webhook: hook }, { webhook: away }] }
  refused: { source: orders, when: new.total == 4, actions: [{ webhook: hook, body: refuse }] }
  joined: { source: signups, when: payload.plan == "pro", actions: [{ webhook: hook }] }
  tried: { source: orders, mode: shadow, when: new.total > 4, actions: [{ webhook: hook }] }
${more}
`;

test('backtest: who would fire, who did (delivered, waiting, dead or in the shadow), and the difference; writes nothing', {
  timeout: 120_000,
}, async () => {
  const database = await createShop('backtest');
  await database.query('alter table public.orders add total int');
  const hooks = await receiver({ respond: ({ body }) => ({ status: body.includes('refuse') ? 400 : 200 }) });
  const then = await rulesFile(rulesOf(database.url, hooks.url, 2));
  await apply(then);
  const sidecar = await startSidecar(then);
  await database.query(`insert into public.orders select n, 'x', n from generate_series(1, 5) n`);
  await database.query(
    `select observers.emit('signup_topic', '{"plan": "pro"}'), observers.emit('signup_topic', '{"plan": "free"}')`,
  );
  // Enough that numbers are no longer in the order of texts.
  await database.query(`select observers.emit('signup_topic', '{"plan": "free"}') from generate_series(1, 10)`);
  await eventually('all outcomes', async () => {
    const { rows } = await database.query<{ done: boolean }>(
      `select (select count(*) from observers.attempts where outcome = 'delivered') = 4 and (select count(*) from observers.dead_letters) = 1 as done`,
    );
    return rows[0]?.done;
  });
  await sidecar.kill('SIGTERM');
  // Not routed: nobody can say what it did.
  await database.query(`insert into public.orders values (6, 'x', 6)`);
  const counts = async () =>
    (
      await database.query(`select (select count(*) from observers.events) as e, (select count(*) from observers.attempts) as a,
      (select count(*) from observers.deliveries) as d, (select count(*) from observers.dead_letters) as l, (select version from observers.checkpoints) as v`)
    ).rows[0];
  const before = await counts();

  const same = JSON.parse((await runProgram(['backtest', '-c', then, '--since', '1h', '--json'])).stdout);
  expect(same).toMatchObject({
    events: 17,
    complete: true,
    observers: [
      { observer: 'big', would_fire: 3, did_fire: 3, only_would: { count: 0 }, only_did: { count: 0 } },
      { observer: 'refused', would_fire: 1, did_fire: 1 },
      { observer: 'joined', would_fire: 1, did_fire: 1 },
      { observer: 'tried', mode: 'shadow', would_fire: 1, did_fire: 1 },
    ],
  });

  const now = await rulesFile(
    rulesOf(
      database.url,
      hooks.url,
      3,
      '  broken: { source: orders, when: new.total > "1", actions: [{ webhook: hook }] }',
    ),
  );
  const other = await runProgram(['backtest', '-c', now, '--since', new Date(Date.now() - 3_600_000).toISOString()]);
  expect(other).toMatchObject({ status: 0, stderr: '' });
  expect(other.stdout).toMatch(/^17 events decided in .*\. Nothing was sent or written\.\n/);
  expect(other.stdout).toMatch(/^big +2 +3 +0 +1 +0$/m);
  expect(other.stdout).toMatch(/^broken +0 +0 +0 +0 +5$/m);
  expect(other.stdout).toMatch(/^tried \(shadow\) +1 +1/m);
  expect(other.stdout).toMatch(/\nbig\n {2}did fire, and would not: 1\n {4}[0-9a-f-]{36} {2}\S+ {2}orders\.insert 3\n/);
  expect(other.stdout).toMatch(/engine fault: no such overload.*: 5\n/);

  const one = await runProgram(['backtest', '-c', now, '--since', '1h', '--observer', 'joined', '--until', '1s']);
  expect(one.stdout).toMatch(/\njoined +1 +1 +0 +0 +0\n$/);
  const nothing = await runProgram([
    'backtest',
    '-c',
    now,
    '--since',
    '2020-01-01T00:00:00Z',
    '--until',
    '2020-01-02T00:00:00Z',
  ]);
  expect(nothing.stdout).toMatch(/^0 events .*\nThe log has no event of this time\./);
  expect(await counts()).toEqual(before);

  expect(await runProgram(['backtest', '-c', now])).toMatchObject({ status: 2 });
  expect(await runProgram(['backtest', '-c', now, '--since', 'monday'])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('Write 30m, 2h or 7d'),
  });
  expect(await runProgram(['backtest', '-c', now, '--since', '1h', '--observer', 'bigg'])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('did you mean big?'),
  });
});

test('backtest: Ctrl-C ends it after the page at hand and tells what was found; so does an error of the database, with status 3', {
  timeout: 120_000,
}, async () => {
  const database = await createShop('backtest_stopped');
  const file = await rulesFile(rulesOf(database.url, 'http://127.0.0.1:9/', 2));
  await apply(file);
  await database.query(`select observers.emit('signup_topic', '{"plan": "pro"}') from generate_series(1, 20000)`);
  await database.query(
    'update observers.checkpoints set snapshot = pg_current_snapshot(), target = null, after_id = 0',
  );
  const locking = await database.pool().connect();
  const whileReading = async (act: (child: TestProcess, pid: number) => Promise<unknown>) => {
    await locking.query('begin');
    await locking.query('lock table observers.attempts in access exclusive mode');
    const child = startProgram(['backtest', '-c', file, '--since', '1h', '--json']);
    const pid = await eventually('it reads the first page', async () => {
      const { rows } = await database.query<{ pid: number }>(
        `select l.pid from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database() where not l.granted`,
      );
      return rows[0]?.pid;
    });
    await act(child, pid);
    await locking.query('commit');
    return child;
  };

  const interrupted = await whileReading(async (child) => child.signal('SIGINT'));
  expect(await interrupted.exited).toMatchObject({ status: 1 });
  const found = JSON.parse(interrupted.stdout());
  expect(found).toMatchObject({ complete: false });
  // The page at hand, or the one ahead when the signal came to it later than the page did.
  expect([1_000, 2_000]).toContain(found.events);
  expect(found.observers[2]).toMatchObject({
    observer: 'joined',
    would_fire: found.events,
    only_would: { count: found.events },
  });
  expect(found.observers[2].only_would.events.map(({ id }: { id: string }) => id)).toEqual(['1', '2', '3', '4', '5']);

  const cut = await whileReading((_, pid) => database.query('select pg_terminate_backend($1)', [pid]));
  expect(await cut.exited).toMatchObject({ status: 3 });
  expect(cut.stdout()).toBe('');
  expect(cut.stderr()).toContain('is not reachable: terminating connection due to administrator command');
  locking.release();
});
