import type pg from 'pg';

/** How a destination fares; names as in the tables. */
export interface LastAttempt {
  readonly started_at: string;
  readonly status: number | null;
  readonly error_class: string | null;
  readonly error_message: string | null;
}

/**
 * When the first of what waits is due, by destination; those without anything are left out. A descent of an index for each
 * destination and tenant, however much waits.
 */
export async function readOldestDue(
  pool: pg.Pool,
  destinations: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await pool.query<{ destination: string; due_at: string }>(
    `select n.destination, min(o.due_at) as due_at from unnest($1::text[]) as n(destination) cross join lateral (
       (select d.due_at from observers.deliveries d
        where d.state = 'ready' and d.destination = n.destination and d.tenant is null order by d.due_at limit 1)
       union all
       (with recursive first (tenant, due_at) as (
          (select d.tenant, d.due_at from observers.deliveries d
           where d.state = 'ready' and d.destination = n.destination and d.tenant is not null order by d.tenant, d.due_at limit 1)
          union all
          select later.tenant, later.due_at from first f cross join lateral (
            select d.tenant, d.due_at from observers.deliveries d
            where d.state = 'ready' and d.destination = n.destination and d.tenant is not null and d.tenant > f.tenant
            order by d.tenant, d.due_at limit 1
          ) later
        )
        select f.due_at from first f)
     ) o group by 1`,
    [destinations],
  );
  return new Map(rows.map(({ destination, due_at }) => [destination, due_at]));
}

/** A circuit breaker that is not closed, and whose. */
export interface OpenBreaker {
  readonly destination: string;
  readonly tenant: string | null;
  readonly state: string;
  readonly instance: string;
  readonly host: string;
  readonly pid: number;
}

/** As the living instances said with their last heartbeat. */
export async function readOpenBreakers(pool: pg.Pool): Promise<readonly OpenBreaker[]> {
  const { rows } = await pool.query<OpenBreaker>(
    `select b.destination, b.tenant, b.state, i.id::text as instance, i.host, i.pid
     from observers.instances i
     cross join lateral jsonb_to_recordset(i.breakers) as b(destination text, tenant text, state text)
     where i.breakers is not null and i.declared_dead_at is null order by i.started_at`,
  );
  return rows;
}

/** The last success and the last failure among the newest 10,000 attempts of all destinations: the history has no index for more. */
export async function readLastAttempts(
  pool: pg.Pool,
  destination: string,
): Promise<{ readonly success: LastAttempt | null; readonly failure: LastAttempt | null }> {
  const { rows } = await pool.query<LastAttempt & { delivered: boolean }>(
    `select distinct on (delivered) outcome = 'delivered' as delivered, started_at, status, error_class, error_message
     from (select * from observers.attempts order by id desc limit 10000) newest
     where destination = $1 order by delivered, started_at desc`,
    [destination],
  );
  const last = (delivered: boolean): LastAttempt | null => {
    const found = rows.find((row) => row.delivered === delivered);
    if (found === undefined) return null;
    const { started_at, status, error_class, error_message } = found;
    return { started_at, status, error_class, error_message };
  };
  return { success: last(true), failure: last(false) };
}
