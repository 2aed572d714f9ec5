/** What changes in every case: rows of about 250 bytes as JSON, `note` filling them up. */
export const columns = 'id bigint primary key, status text, total numeric, customer text, note text';

/** Rows $1 to $2. */
export const rowsSql = `
  select n as id, 'paid' as status, n + 0.50 as total, 'customer-' || n || '@example.com' as customer, repeat('x', 140) as note
  from generate_series($1::bigint, $2::bigint) n`;
