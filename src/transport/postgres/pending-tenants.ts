import type pg from 'pg';

/** Deliveries that wait, of one tenant; names as in the tables. */
export interface TenantPending {
  readonly tenant: string;
  readonly pending: number;
  /** From a sample: the queue has more than 100,000 deliveries. */
  readonly estimated: boolean;
}

/** Those with the most first. Counted up to 100,000 deliveries in all, else from a sample of about that many: tenants with few may be missing. */
export async function readPendingTenants(pool: pg.Pool, most: number): Promise<readonly TenantPending[]> {
  const { rows } = await pool.query<TenantPending>(
    `with size as materialized (
       select greatest(1, reltuples / 100000)::float8 as scale from pg_class where oid = 'observers.deliveries'::regclass
     )
     select tenant, round(count(*) * scale)::float8 as pending, scale > 1 as estimated
     from observers.deliveries tablesample system ((select 100 / scale from size)), size
     where tenant is not null group by tenant, scale order by 2 desc, 1 limit $1`,
    [most],
  );
  return rows;
}
