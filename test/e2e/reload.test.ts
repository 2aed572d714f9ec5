import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { createShop, keyOf, receiver, shopRules } from './shop.ts';
import { eventually, type LogRecord, rulesFile, type Sidecar, startSidecar } from './support.ts';

/** Sends SIGHUP and resolves with what it says about the new rules. */
async function reload(sidecar: Sidecar): Promise<LogRecord> {
  const about = ({ event, msg }: LogRecord) => event === 'rules.loaded' || msg.includes('the new rules are refused');
  const before = sidecar.records().filter(about).length;
  sidecar.signal('SIGHUP');
  return eventually('an answer to SIGHUP', () => sidecar.records().filter(about)[before]);
}

test('SIGHUP takes up new rules: conditions, tables and channels', async () => {
  const database = await createShop('reload');
  await database.query('create table public.refunds (id integer primary key)');
  const hooks = await receiver();
  const file = await rulesFile(shopRules({ database: database.url, url: hooks.url }));
  const sidecar = await startSidecar(file);
  await writeFile(
    file,
    `
version: 1
database: ${database.url}
sources:
  orders: { table: public.orders }
  refunds: { table: public.refunds }
  pings: { channel: pings }
destinations: { hook: { webhook: { url: "${hooks.url}" } } }
observers:
  created: { source: orders, on: [insert], when: new.id > 10, actions: [{ webhook: hook }] }
  refunded: { source: refunds, actions: [{ webhook: hook }] }
  pinged: { source: pings, actions: [{ webhook: hook, body: { ping: "\${{ payload }}" } }] }
`,
  );
  expect(await reload(sidecar)).toMatchObject({ level: 'info', msg: 'rules loaded: 3 observers' });
  await database.query('insert into public.orders values (1), (11)');
  await database.query('insert into public.refunds values (7)');
  await database.query(`notify pings, 'hello'`);
  await hooks.received.waitFor(3);
  const bodies = hooks.received.entries.map(({ body }) => JSON.parse(body));
  expect(bodies.map(({ type, key, ping }) => ping ?? `${type} ${key}`).sort()).toEqual([
    'hello',
    'orders.insert 11',
    'refunds.insert 7',
  ]);

  // A source that is gone takes its triggers along.
  await writeFile(file, shopRules({ database: database.url, url: hooks.url }));
  expect(await reload(sidecar)).toMatchObject({ level: 'info', msg: 'rules loaded: 1 observer' });
  const { rowCount } = await database.query(
    `select from pg_trigger where not tgisinternal and tgrelid = 'public.refunds'::regclass`,
  );
  expect(rowCount).toBe(0);
  expect(await sidecar.kill()).toMatchObject({ status: 0, stderr: '' });
});

test('broken rules are refused with positions, all at once, and the old ones keep running', async () => {
  const database = await createShop('reload_broken');
  const hooks = await receiver();
  const good = shopRules({ database: database.url, url: hooks.url });
  const file = await rulesFile(good);
  const sidecar = await startSidecar(file);
  const refused = async (yaml: string) => {
    await writeFile(file, yaml);
    const said = await reload(sidecar);
    expect(said.level).toBe('error');
    return said.msg;
  };
  const twoMistakes = good.replace('source: orders,', 'source: order,').replace('webhook: hook', 'webhok: hook');
  const message = await refused(twoMistakes);
  expect(message).toContain('the old ones keep running');
  expect(message).toMatch(new RegExp(`^${file}:\\d+:\\d+ {2}.*did you mean .*orders`, 'm'));
  expect(message).toMatch(new RegExp(`^${file}:\\d+:\\d+ {2}.*webhok.*did you mean .*webhook`, 'm'));
  expect(await refused('observers: [')).toMatch(new RegExp(`${file}:\\d+:\\d+`));
  // Well-formed, and wrong only beside the database.
  const unknownTable = await refused(good.replace('public.orders', 'public.oders'));
  expect(unknownTable).toMatch(
    new RegExp(`${file}:4:\\d+ {2}source orders: there is no table public.oders .*did you mean public.orders`),
  );
  expect(await refused(good.replace(database.url, `${database.url}_other`))).toContain('needs a restart');

  await database.query('insert into public.orders values (1)');
  expect((await hooks.received.waitFor(1)).map(keyOf)).toEqual(['1']);
  await writeFile(file, good);
  expect(await reload(sidecar)).toMatchObject({ level: 'info' });
  expect(await sidecar.kill()).toMatchObject({ status: 0, stderr: '' });
});
