/**
 * What attempts leave for later ones. Read here, on the pool whose commits don't wait for the disk: the right to leave a note
 * ends with its claim, which doesn't wait either. Written by the statement that settles (settlement.ts).
 */

import type pg from 'pg';
import type { Delivery } from '../../domain/delivery.ts';
import type { NoteName, OpenedNote, Settlement } from '../contract.ts';

export async function openNote(pool: pg.Pool, delivery: Delivery, { key, shared }: NoteName): Promise<OpenedNote> {
  if (!shared) {
    const { rows } = await pool.query<{ value: unknown }>({
      name: 'read_note',
      text: 'select value from observers.notes where destination = $1 and key = $2',
      values: [delivery.destination, key],
    });
    return { busy: false, value: rows[0]?.value ?? null };
  }
  const { rows } = await pool.query<{ busy: boolean; value: unknown }>({
    name: 'open_note',
    text: 'select busy, value from observers.open_note($1, $2, $3, $4)',
    values: [delivery.destination, key, delivery.id, delivery.lease],
  });
  return rows[0]?.busy === true ? { busy: true } : { busy: false, value: rows[0]?.value ?? null };
}

/** $16 keys, $17 values, $18 whether each is of its delivery alone: one of each per settlement, null for those without a note. */
export const noteSettling = `,
left_notes as materialized (
  select distinct on (h.destination, n.key) h.destination, n.key, n.value, case when n.own then h.event_uid end as event_uid
  from held h
  join unnest($2::bigint[], $16::text[], $17::jsonb[], $18::boolean[]) as n(id, key, value, own) on n.id = h.id
  where n.key is not null
  order by h.destination, n.key
),
forgotten as (
  delete from observers.notes o using left_notes n where n.value is null and o.destination = n.destination and o.key = n.key
),
noted as (
  insert into observers.notes as o (destination, key, value, event_uid)
  select destination, key, value, event_uid from left_notes where value is not null
  on conflict (destination, key) do update
  set value = excluded.value, event_uid = excluded.event_uid, updated_at = now(), delivery_id = null, lease = null
)`;

export function noteColumns(settlements: readonly Settlement[], storableJson: (json: string) => string): unknown[] {
  const json = (value: unknown) => (value === null || value === undefined ? null : storableJson(JSON.stringify(value)));
  return [
    settlements.map(({ note }) => note?.key ?? null),
    settlements.map(({ note }) => json(note?.value)),
    settlements.map(({ note }) => note?.shared === false),
  ];
}

const unusedForDays = 90;
const notesPerStatement = 10_000;

/** What nobody has asked for in 90 days goes, unless a dead letter of its event may still be replayed. */
export async function trimNotes(pool: pg.Pool): Promise<void> {
  for (let trimmed = notesPerStatement; trimmed === notesPerStatement; ) {
    const { rowCount } = await pool.query(
      `delete from observers.notes o using (
         select n.destination, n.key from observers.notes n
         where n.updated_at < now() - make_interval(days => $1)
           and (n.event_uid is null or not exists (select from observers.dead_letters k where k.event_uid = n.event_uid))
         limit $2
       ) old
       where o.destination = old.destination and o.key = old.key and o.updated_at < now() - make_interval(days => $1)`,
      [unusedForDays, notesPerStatement],
    );
    trimmed = rowCount ?? 0;
  }
}
