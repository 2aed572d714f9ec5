/**
 * The statements of the workload. Each change records itself in chaos.committed, in its own transaction: what is there
 * committed, also when nobody heard the answer to the COMMIT. Rows are locked before they are changed, so that of one row
 * `op` grows in the order of commits.
 */

import type pg from 'pg';
import type { Random } from '../random.ts';

export interface Writer {
  readonly client: pg.Client;
  readonly random: Random;
  /** Of payloads, at most. */
  readonly textBytes: number;
}

const tenants = ['acme', 'globex', 'initech', null] as const;

const recordInsert = (source: string, key: string, tenant: string) => `
insert into chaos.committed (op, mark, source, operation, key, tenant, new)
select c.op, c.op, '${source}', 'insert', ${key}, ${tenant}, to_jsonb(c) from changed c`;

const recordUpdate = (source: string, key: string, tenant: string, join: string) => `
insert into chaos.committed (op, mark, source, operation, key, tenant, old, new)
select c.op, c.op, '${source}', 'update', ${key}, ${tenant}, to_jsonb(b), to_jsonb(c) from changed c join before b on ${join}`;

const recordDelete = (source: string, key: string, tenant: string) => `
insert into chaos.committed (op, mark, source, operation, key, tenant, old)
select nextval('chaos.op'), c.op, '${source}', 'delete', ${key}, ${tenant}, to_jsonb(c) from changed c`;

const itemKey = 'jsonb_build_array(c.order_id::text, c.line::text)::text';

export async function insertOrders(writer: Writer, count: number): Promise<void> {
  const { random } = writer;
  await writer.client.query(
    `with changed as (
       insert into shop.orders (tenant, status, amount, account, note, op)
       select $2, 'open', ($3::numeric + n) / 7, 9007199254740993 + n, $4, nextval('chaos.op') from generate_series(1, $1::int) n
       returning *)
     ${recordInsert('orders', 'c.id::text', 'c.tenant')}`,
    [count, random.pick(tenants), random.below(7_000), textOf(writer)],
  );
}

export async function updateOrders(writer: Writer, count: number): Promise<void> {
  const ids = await lockOrders(writer, count);
  const { random } = writer;
  await writer.client.query(
    `with before as (select * from shop.orders where id = any ($1)),
     changed as (
       update shop.orders o set status = $2, amount = ($3::numeric + o.id) / 3, note = $4, op = nextval('chaos.op')
       where o.id = any ($1) returning *)
     ${recordUpdate('orders', 'c.id::text', 'c.tenant', 'b.id = c.id')}`,
    [ids, random.pick(['open', 'paid', 'sent', 'Größe "9"']), random.below(3_000), textOf(writer)],
  );
}

export async function deleteOrders(writer: Writer, count: number): Promise<void> {
  const ids = await lockOrders(writer, count);
  await writer.client.query(
    `with changed as (delete from shop.orders where id = any ($1) returning *) ${recordDelete('orders', 'c.id::text', 'c.tenant')}`,
    [ids],
  );
}

/** A composite key, written anew and again and deleted: the same lane lives on. */
export async function changeItem(writer: Writer): Promise<void> {
  const { client, random } = writer;
  const key = [1 + random.below(20), 1 + random.below(5)];
  await client.query('select pg_advisory_xact_lock($1, $2)', key);
  const { rowCount } = await client.query('select from shop.items where order_id = $1 and line = $2 for update', key);
  if (rowCount === 0) {
    await client.query(
      `with changed as (insert into shop.items values ($1, $2, $3, array['a', $3], nextval('chaos.op')) returning *)
       ${recordInsert('items', itemKey, 'null')}`,
      [...key, textOf(writer)],
    );
  } else if (random.chance(0.2)) {
    await client.query(
      `with changed as (delete from shop.items where order_id = $1 and line = $2 returning *) ${recordDelete('items', itemKey, 'null')}`,
      key,
    );
  } else {
    await client.query(
      `with before as (select * from shop.items where order_id = $1 and line = $2),
       changed as (update shop.items set label = $3, op = nextval('chaos.op') where order_id = $1 and line = $2 returning *)
       ${recordUpdate('items', itemKey, 'null', 'true')}`,
      [...key, textOf(writer)],
    );
  }
}

export async function insertNotes(writer: Writer, count: number): Promise<void> {
  await writer.client.query(
    `with changed as (
       insert into shop.notes (tenant, body, op) select $2, $3 || n, nextval('chaos.op') from generate_series(1, $1::int) n
       returning *)
     ${recordInsert('notes', 'c.id::text', 'c.tenant')}`,
    [count, writer.random.pick(tenants), textOf(writer)],
  );
}

/** The keys of a topic are locked for as long as the transaction lasts, or the order of commits would be anybody's guess. */
export async function emitSignal(writer: Writer): Promise<void> {
  const { client, random } = writer;
  const key = `signal-${random.below(10)}`;
  await client.query('select pg_advisory_xact_lock(hashtext($1))', [key]);
  await client.query(
    `with op as materialized (select nextval('chaos.op') as op),
     message as (select op, jsonb_build_object('op', op, 'text', $2::text, 'total', 12345678901234567890.120) as payload from op),
     emitted as materialized (select op, payload, observers.emit('signals', payload, $1, $3) from message)
     insert into chaos.committed (op, mark, source, operation, key, tenant, payload)
     select op, op, 'signals', 'emit', $1, $3, payload from emitted`,
    [key, textOf(writer), random.pick(tenants)],
  );
}

/** Some of those there are, always in the same order: rows locked in any order would be deadlocks and nothing else. */
async function lockOrders({ client, random }: Writer, count: number): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `select id::text from shop.orders where id in (select id from shop.orders order by hashint8(id # $1::int) limit $2)
     order by id for update`,
    [random.below(1_000_000), count],
  );
  return rows.map(({ id }) => id);
}

function textOf({ random, textBytes }: Writer): string {
  return `${random.below(1_000_000_000)} “é\\ ${'x'.repeat(random.below(textBytes))}`;
}
