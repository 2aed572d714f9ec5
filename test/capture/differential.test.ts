import fc from 'fast-check';
import type pg from 'pg';
import { beforeAll, expect, test } from 'vitest';
import { createCaptureDatabase } from './support.ts';

/**
 * Random statements on a table, and two witnesses: our statement triggers, and a plain row trigger of the test that writes
 * down every row it sees. They must agree on what happened, and per row on the order.
 */

const database = await createCaptureDatabase('differential');
const { rows } = await database.query<{ n: number }>(`select current_setting('server_version_num')::int as n`);
const serverVersion = rows[0]?.n ?? 0;
const tables = ['shop.plain', 'shop.keyless', 'shop.parts', 'shop.parts_b', 'shop.replicated'] as const;

beforeAll(async () => {
  await database.query(`
    create schema shop;
    create table shop.reference (n bigserial, source text, operation text, old jsonb, new jsonb);
    create function shop.write_down() returns trigger language plpgsql as $$
      begin
        insert into shop.reference (source, operation, old, new)
        values (tg_argv[0], lower(tg_op), case when tg_op <> 'INSERT' then to_jsonb(old) end, case when tg_op <> 'DELETE' then to_jsonb(new) end);
        return null;
      end $$;
    create table shop.plain (id int primary key deferrable initially deferred, grp int, v numeric, note text);
    create table shop.keyless (id int, grp int, v numeric, note text);
    create table shop.parts (id int, grp int, v numeric, note text) partition by range (grp);
    create table shop.parts_a partition of shop.parts for values from (minvalue) to (3);
    create table shop.parts_b (note text, gone int, v numeric, grp int, id int);
    alter table shop.parts_b drop column gone;
    alter table shop.parts attach partition shop.parts_b for values from (3) to (maxvalue);
    create table shop.replicated (id int primary key deferrable initially deferred, grp int, v numeric, note text)`);
  for (const name of ['plain', 'keyless', 'parts', 'replicated']) {
    await database.query(`create trigger reference after insert or update or delete on shop.${name}
      for each row execute function shop.write_down('${name}')`);
  }
  await database.observe({
    plain: 'shop.plain',
    keyless: 'shop.keyless',
    parts: 'shop.parts',
    replicated: { table: 'shop.replicated', replicated: true },
  });
});

const small = fc.integer({ min: 0, max: 6 });
const table = fc.constantFrom(...tables);
/** parts_b takes only groups from 3 on. */
const group = (name: string, g: number) => (name === 'shop.parts_b' ? 3 + (g % 4) : g);

/** PostgreSQL 15. Fires the triggers of all three operations at its end, and may move rows between partitions. */
const merge = fc.record({ table, from: fc.nat(40), count: small, to: small }).map(({ table, from, count, to }) => {
  const bySource = `when not matched by source and t.id % 5 = 0 then update set note = 'unmatched', grp = ${group(table, to)}`;
  return `merge into ${table} t using generate_series(${from}, ${from} + 2 * ${count}) s (id) on t.id = s.id
      when matched and s.id % 3 = 0 then delete when matched then update set grp = ${group(table, to)}, v = t.v + 1
      when not matched then insert (id, grp, v, note) values (s.id, ${group(table, to)}, 1.50, 'merged')
      ${serverVersion >= 170_000 ? bySource : ''}`;
});

const statement = fc.oneof(
  ...(serverVersion >= 150_000 ? [merge] : []),
  fc.record({ table, from: fc.nat(40), count: small, g: small }).map(
    ({ table, from, count, g }) => `insert into ${table} (id, grp, v, note)
      select n, ${group(table, g)}, n * 1.50, 'ü' || n from generate_series(${from}, ${from} + ${count} - 1) n`,
  ),
  fc
    .record({ table, g: small, add: small })
    .map(({ table, g, add }) => `update ${table} set v = v + ${add}, note = null where grp = ${g}`),
  fc
    .record({ table, g: small, to: small })
    .map(({ table, g, to }) => `update ${table} set grp = ${group(table, to)}, id = 40 - id where grp <> ${g}`),
  fc.record({ table, m: small }).map(({ table, m }) => `delete from ${table} where id % 7 = ${m}`),
  fc
    .record({ from: fc.nat(40), count: small })
    .map(
      ({ from, count }) =>
        `insert into shop.keyless select id, grp, v, note from shop.plain order by id offset ${from} limit ${count}`,
    ),
  fc.constantFrom('savepoint s', 'rollback to s', 'truncate shop.keyless'),
);

const furnish = ['plain', 'keyless', 'parts', 'replicated']
  .map(
    (name) =>
      `insert into shop.${name} (id, grp, v, note) select n, n % 7, n * 1.50, 'ü' || n from generate_series(0, 20) n`,
  )
  .join(';');

const transactions = fc.array(fc.array(statement, { minLength: 2, maxLength: 8 }), { minLength: 1, maxLength: 5 });

async function run(client: pg.PoolClient, statements: readonly string[]): Promise<void> {
  await client.query('begin');
  await client.query('savepoint s');
  for (const sql of statements) {
    await client.query('savepoint own');
    // A unique violation and the like is a statement that did not happen; `rollback to s` ends `own` as well.
    await client.query(sql).catch(() => client.query('rollback to own'));
  }
  // Deferred constraints may refuse it as a whole.
  await client.query('commit').catch(() => client.query('rollback'));
}

interface Seen {
  source: string;
  operation: string;
  old: string | null;
  new: string | null;
}

/** A row's history: what follows on what, by its image. */
const line = (seen: Seen) => `${seen.source} ${seen.operation} ${seen.old} ${seen.new}`;

test('both witnesses tell the same story', { timeout: 55_000 }, async () => {
  const client = await database.pool({ max: 1 }).connect();
  await client.query(`set work_mem = '64kB'`);
  let total = 0;
  await fc.assert(
    fc.asyncProperty(transactions, async (all) => {
      await client.query('truncate shop.plain, shop.keyless, shop.parts, shop.replicated, shop.reference');
      await database.takeEvents();
      await client.query(furnish);
      for (const statements of all) await run(client, statements);
      const { rows: reference } = await client.query<Seen>(
        'select source, operation, old::text as old, new::text as new from shop.reference order by n',
      );
      const events = (await database.takeEvents()).filter((e) => e.operation !== 'truncate');
      expect(events.filter((e) => e.fault !== null)).toEqual([]);
      expect(splitMoves(events).map(line).toSorted()).toEqual(reference.map(line).toSorted());
      for (const source of ['plain', 'replicated']) {
        expect(chain(events, source)).toEqual(chain(reference, source));
      }
      total += reference.length;
    }),
    { numRuns: 50 },
  );
  client.release();
  expect(total).toBeGreaterThan(5_000);
});

/** A row trigger sees a row that moves between partitions as a delete and an insert; ours as the update it is. */
function splitMoves(events: readonly Seen[]): Seen[] {
  return events.flatMap((e): Seen[] => {
    if (e.source !== 'parts' || e.operation !== 'update') return [e];
    const inB = (image: string | null) => Number(/"grp": (\d+)/.exec(image ?? '')?.[1]) >= 3;
    if (inB(e.old) === inB(e.new)) return [e];
    return [
      { source: e.source, operation: 'delete', old: e.old, new: null },
      { source: e.source, operation: 'insert', old: null, new: e.new },
    ];
  });
}

/** Per statement the order of rows is free, so only changes of one row (by its id) are compared in order. */
function chain(seen: readonly Seen[], source: string): Map<string, string[]> {
  const histories = new Map<string, string[]>();
  for (const s of seen) {
    if (s.source !== source) continue;
    const id = /"id": (\d+)/.exec(s.old ?? s.new ?? '')?.[1] ?? '';
    histories.set(id, [...(histories.get(id) ?? []), line(s)]);
  }
  return new Map([...histories].toSorted(([a], [b]) => Number(a) - Number(b)));
}
