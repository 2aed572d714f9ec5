/** What the pages take for granted: a small shop, its variables, and names for the parts a fragment does not show. */

export const tables = `
  create table public.orders (
    id bigint generated always as identity primary key, status text not null default 'open', total numeric(12,2) not null,
    customer_email text, tenant_id text);
  create table public.customers (id bigint generated always as identity primary key, name text not null, email text);
  create table public.ledger (id bigint generated always as identity primary key, amount numeric not null);`;

export const variables: Readonly<Record<string, string>> = {
  DATABASE_URL: 'postgres://shop@db.internal/shop',
  BILLING_URL: 'https://billing.example.com/hooks/orders',
  BILLING_WEBHOOK_SECRET: `whsec_${Buffer.alloc(24, 'a').toString('base64')}`,
  BILLING_WEBHOOK_SECRET_NEW: `whsec_${Buffer.alloc(24, 'b').toString('base64')}`,
  BILLING_TOKEN: 'token-of-billing',
  OPS_URL: 'https://ops.example.com/hook',
  SMTP_URL: 'smtp://user:password@mail.example.com:587',
  SMTP_PASSWORD: 'password-of-smtp',
  SLACK_BOT_TOKEN: 'xoxb-1-a',
  WAREHOUSE_URL: 'postgres://loader:password@warehouse.internal/shop',
  PAGERDUTY_KEY: 'r0uting-k3y-of-pager',
  SLACK_WEBHOOK_URL: 'https://hooks.slack.com/services/T0/B0/secret',
};

export const sections: Readonly<Record<string, string>> = {
  version: 'version: 1',
  database: 'database: ${DATABASE_URL}',
  sources: `sources:
  orders: { table: public.orders }
  payments: { channel: payment_events }
  signups: { topic: signups }`,
  destinations: `destinations:
  billing: { webhook: { url: '\${BILLING_URL}' } }
  ops: { webhook: { url: '\${OPS_URL}' } }
  customer-mail: { email: { smtp: '\${SMTP_URL}', from: orders@example.com } }
  sales: { slack: { token: '\${SLACK_BOT_TOKEN}' } }`,
};

/** A fragment with the sections it does not have, behind it: line numbers stay. */
export function completed(fragment: string): string {
  const missing = Object.entries(sections).filter(([key]) => !new RegExp(`^${key}:`, 'm').test(fragment));
  return `${fragment}\n${missing.map(([, text]) => text).join('\n')}\n`;
}
