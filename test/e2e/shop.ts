import { randomBytes } from 'node:crypto';
import { onTestFinished } from 'vitest';
import {
  startWebhookReceiver,
  type WebhookReceiver,
  type WebhookReceiverOptions,
} from '../../src/receivers/webhook-receiver.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type ProcessEnd, runProgram } from '../support/processes.ts';

/** A database with one small table, dropped with the test. */
export async function createShop(label: string): Promise<TestDatabase> {
  const database = await createDatabase(label);
  await database.query('create table public.orders (id integer primary key, note text)');
  return database;
}

/** Closed with the test. */
export async function receiver(options: WebhookReceiverOptions = {}): Promise<WebhookReceiver> {
  const created = await startWebhookReceiver(options);
  onTestFinished(() => created.close());
  return created;
}

/** The key of the row that a webhook with the default body tells of. */
export const keyOf = (hook: { readonly body: string }): string => String(JSON.parse(hook.body).key);

export interface ShopRules {
  readonly database: string;
  readonly url: string;
  /** YAML of the destination's policy. */
  readonly policy?: string;
  /** More YAML at the end, e.g. `settings: …`. */
  readonly more?: string;
}

/** One webhook for every inserted order. */
export const shopRules = ({ database, url, policy = '', more = '' }: ShopRules): string => `
version: 1
database: ${database}
sources: { orders: { table: public.orders } }
destinations: { hook: { webhook: { url: "${url}" }${policy === '' ? '' : `, ${policy}`} } }
observers: { created: { source: orders, on: [insert], actions: [{ webhook: hook }] } }
${more}
`;

export async function apply(rules: string): Promise<ProcessEnd> {
  const end = await runProgram(['apply', '--config', rules]);
  if (end.status !== 0) throw new Error(`apply failed with status ${end.status}: ${end.stderr}`);
  return end;
}

/** A role that lives as long as the test. @returns the database's URL for it */
export async function createRole(
  database: TestDatabase,
  options: string,
  password = 'test',
): Promise<{ name: string; url: string }> {
  const name = `role_${randomBytes(6).toString('hex')}`;
  await database.query(`create role ${name} login password '${password}' ${options}`);
  onTestFinished(async () => {
    await database.query(`reassign owned by ${name} to current_user; drop owned by ${name}; drop role ${name}`);
  });
  const url = new URL(database.url);
  url.username = name;
  url.password = password;
  return { name, url: url.href };
}
