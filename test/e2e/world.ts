import { expect, onTestFinished } from 'vitest';
import { messageId } from '../../src/domain/delivery.ts';
import { startSlackReceiver } from '../../src/receivers/slack-receiver.ts';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { runProgram } from '../support/processes.ts';
import { eventually, rulesFile } from './support.ts';

/** One delivery as a receiver saw it. */
export interface Arrival {
  readonly kind: 'webhook' | 'email' | 'slack';
  /** The `id` column of the row it tells of. */
  readonly row: number;
  /** What a receiver drops repeats by: webhook-id, Message-ID, message_id in Slack's metadata. */
  readonly messageId: string;
}

/** A shop database with its rules applied, and a real receiver for each kind of action. */
export interface World {
  readonly database: TestDatabase;
  readonly rules: string;
  readonly webhooks: Awaited<ReturnType<typeof startWebhookReceiver>>;
  readonly mails: Awaited<ReturnType<typeof startSmtpReceiver>>;
  readonly slack: Awaited<ReturnType<typeof startSlackReceiver>>;
  /** Of all three kinds, in order of arrival. */
  readonly arrivals: readonly Arrival[];
  /** Resolves when so many have arrived in all. */
  arrived(count: number, withinMs?: number): Promise<void>;
  /** Resolves when no sender is connected to a receiver any more. */
  disconnected(): Promise<void>;
}

const shop =
  'create table public.orders (id integer primary key, status text not null, total numeric(12,2), email text)';

const rulesOf = (urls: { webhook: string; smtp: string; slack: string }, database: string) => `
version: 1
database: ${database}
sources:
  orders: { table: public.orders }
destinations:
  billing: { webhook: { url: "${urls.webhook}/orders" }, concurrency: 40 }
  customers: { email: { smtp: "${urls.smtp}", from: shop@example.com }, concurrency: 20 }
  sales: { slack: { token: xoxb-1, api_url: "${urls.slack}" }, concurrency: 40 }
observers:
  paid:
    source: orders
    on: [insert]
    when: new.status == "paid"
    actions:
      - webhook: billing
      - email: customers
        to: \${{ new.email }}
        subject: Order \${{ new.id }}
        text: You paid \${{ new.total }}.
      - slack: sales
        channel: "#sales"
        text: "\${{ new.id }}: \${{ new.total }}"
settings: { instance_timeout: 2s }
`;

/** Everything is closed and dropped with the test. */
export async function createWorld(label: string): Promise<World> {
  const database = await createDatabase(label);
  await database.query(shop);
  const [webhooks, mails, slack] = await Promise.all([
    startWebhookReceiver(),
    startSmtpReceiver(),
    startSlackReceiver(),
  ]);
  onTestFinished(async () => {
    await Promise.all([webhooks.close(), mails.close(), slack.close()]);
  });
  const arrivals: Arrival[] = [];
  const waiting = new Set<() => void>();
  const add = (kind: Arrival['kind'], row: unknown, id: unknown) => {
    arrivals.push({ kind, row: Number(row), messageId: String(id) });
    for (const check of waiting) check();
  };
  webhooks.received.onArrival((hook) => add('webhook', /"id": (\d+)/.exec(hook.body)?.[1], hook.messageId));
  mails.received.onArrival((mail) =>
    add('email', mail.subject?.replace('Order ', ''), /<(.+)@/.exec(mail.messageId ?? '')?.[1]),
  );
  slack.received.onArrival((message) => add('slack', message.text?.split(':')[0], slackMessageId(message.metadata)));

  const rules = await rulesFile(rulesOf({ webhook: webhooks.url, smtp: mails.url, slack: slack.apiUrl }, database.url));
  const applied = await runProgram(['apply', '--config', rules]);
  if (applied.status !== 0) throw new Error(`apply failed: ${applied.stderr}`);
  return {
    database,
    rules,
    webhooks,
    mails,
    slack,
    arrivals,
    arrived: (count, withinMs = 150_000) => arrived(arrivals, waiting, count, withinMs),
    disconnected: async () => {
      await Promise.all([webhooks, mails, slack].map(({ connections }) => connections.whenEmpty()));
    },
  };
}

function slackMessageId(metadata: unknown): string | undefined {
  return (metadata as { event_payload?: { message_id?: string } } | null)?.event_payload?.message_id;
}

/** At the very arrival, not a poll later: that is the moment tests kill at. */
function arrived(all: readonly Arrival[], waiting: Set<() => void>, count: number, withinMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      waiting.delete(check);
      reject(new Error(`${withinMs} ms went by; ${all.length} of ${count} arrived`));
    }, withinMs);
    const check = () => {
      if (all.length < count) return;
      clearTimeout(timer);
      waiting.delete(check);
      resolve();
    };
    waiting.add(check);
    check();
  });
}

/** Paid orders with the next ids, in one statement. */
export async function insertOrders(database: TestDatabase, count: number, from = 1): Promise<void> {
  await database.query(
    `insert into public.orders
     select n, 'paid', n + 0.50, 'customer-' || n || '@example.com' from generate_series($1::int, $2::int) n`,
    [from, from + count - 1],
  );
}

/** Message ids of what the database does not count as delivered. */
export async function unsettledMessageIds(database: TestDatabase, state: 'claimed' | 'any'): Promise<Set<string>> {
  const { rows } = await database.query<{ event_uid: string; observer: string; action: string }>(
    `select event_uid::text, observer, action from observers.deliveries where $1 = 'any' or state = $1`,
    [state],
  );
  return new Set(rows.map((row) => messageId(row.event_uid, row.observer, row.action)));
}

/** Resolves when the server has noticed that a killed process is gone, and has ended what it was still executing for it. */
export async function noSessions(database: TestDatabase): Promise<void> {
  await eventually('no session of ours on the database', async () => {
    const { rows } = await database.query(
      `select from pg_stat_activity where datname = current_database() and application_name like 'pg-observers%'`,
    );
    return rows.length === 0;
  });
}

/** Resolves when everything captured is routed and the queue is empty. */
export async function drained(database: TestDatabase, withinMs = 60_000): Promise<void> {
  await eventually(
    'an empty queue',
    async () => {
      const { rows } = await database.query<{ done: boolean }>(
        `select not exists (select from observers.deliveries) as done`,
      );
      return rows[0]?.done;
    },
    withinMs,
  );
}

/** Each row at each of the three receivers, under an id of its own. */
export function expectEachOnce(arrivals: readonly Arrival[], rows: number): void {
  const ids = Array.from({ length: rows }, (_, n) => n + 1);
  for (const kind of ['webhook', 'email', 'slack']) {
    const arrived = arrivals.filter((arrival) => arrival.kind === kind).map(({ row }) => row);
    expect(
      arrived.sort((a, b) => a - b),
      kind,
    ).toEqual(ids);
  }
  expect(new Set(arrivals.map(({ messageId }) => messageId)).size).toBe(arrivals.length);
}
