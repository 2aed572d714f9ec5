import type pg from 'pg';
import { UserError } from '../domain/errors.ts';
import { redactUrl } from '../transport/postgres/failures.ts';

/** Marks our tables, so that the demo never writes its invented orders into somebody's real ones. */
const mark = 'pg-observers demo';

const tables = `
create table public.customers (
  id         bigint generated always as identity primary key,
  name       text not null,
  email      text not null,
  created_at timestamptz not null default now()
);
create table public.orders (
  id             bigint generated always as identity primary key,
  status         text not null default 'open' check (status in ('open', 'paid', 'cancelled')),
  total          numeric(10, 2) not null,
  customer_email text not null,
  tenant_id      text not null,
  internal_note  text, -- not among the source's columns: receivers never see it
  created_at     timestamptz not null default now()
);
comment on table public.customers is '${mark}';
comment on table public.orders is '${mark}';`;

/**
 * Creates the shop's tables where they don't exist.
 * @returns whether it did
 * @throws UserError when there are tables of those names with somebody's data in them
 */
export async function ensureShopTables(client: pg.ClientBase, url: string): Promise<boolean> {
  const { rows } = await client.query<{ name: string; ours: boolean }>(
    `select c.relname as name, coalesce(obj_description(c.oid, 'pg_class') = $1, false) as ours
     from pg_class c where c.relnamespace = 'public'::regnamespace and c.relname in ('orders', 'customers')`,
    [mark],
  );
  const foreign = rows.filter((row) => !row.ours).map((row) => `public.${row.name}`);
  if (foreign.length > 0) {
    throw new UserError(
      `${redactUrl(url)} already has ${foreign.join(' and ')}, and the demo would write invented rows there. ` +
        'Name an empty database with --database, or none: then the demo brings its own server.',
      2,
    );
  }
  if (rows.length === 2) return false;
  if (rows.length === 1) {
    throw new UserError(
      `${redactUrl(url)} has only public.${rows[0]?.name} of the demo's two tables. Drop it, or name an empty database.`,
      2,
    );
  }
  await client.query(`begin; ${tables} commit;`);
  return true;
}
