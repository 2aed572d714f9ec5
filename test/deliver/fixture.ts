import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { ConfigInput } from '../../src/config/index.ts';
import { defineConfig } from '../../src/config/index.ts';
import type { Config } from '../../src/domain/rules.ts';
import type { AttemptFinished, TelemetryEvent } from '../../src/domain/telemetry.ts';
import { createEngine, type Engine, type EngineOptions } from '../../src/engine.ts';
import {
  type ReceivedWebhook,
  startWebhookReceiver,
  type WebhookReceiver,
  type WebhookReceiverOptions,
} from '../../src/receivers/webhook-receiver.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';

/** Polls until `look` gives something. @throws Error naming `what` after `withinMs` */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  withinMs = 20_000,
): Promise<T> {
  for (const deadline = Date.now() + withinMs; ; await sleep(10)) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`${withinMs} ms went by without: ${what}`);
  }
}

type Rules = Pick<ConfigInput, 'destinations' | 'observers' | 'settings' | 'sources' | 'defaults'>;

/** Rules over the topic `orders`, polling so rarely that whatever depends on the poll fails its test. */
export function rules(url: string, { settings, sources, ...rest }: Rules, env: Record<string, string> = {}): Config {
  return defineConfig(
    {
      version: 1,
      database: url,
      sources: { orders: { topic: 'orders' }, ...sources },
      ...rest,
      settings: { listen: 'off', poll_interval: '30s', ...settings },
    },
    { env },
  );
}

export interface Running {
  readonly engine: Engine;
  readonly told: readonly TelemetryEvent[];
  attempts(): AttemptFinished[];
  /** The first event of the type, past or future. */
  heard<Type extends TelemetryEvent['type']>(type: Type): Promise<Extract<TelemetryEvent, { type: Type }>>;
}

/** A started engine, stopped at the end of the test. */
export async function run(config: Config, options: Pick<EngineOptions, 'tracedShare'> = {}): Promise<Running> {
  const told: TelemetryEvent[] = [];
  const engine = createEngine(config, { ...options, telemetry: (event) => told.push(event) });
  onTestFinished(() => engine.stop({ timeoutMs: 0 }));
  await engine.start();
  const find = <Type extends TelemetryEvent['type']>(type: Type) =>
    told.find((event): event is Extract<TelemetryEvent, { type: Type }> => event.type === type);
  return {
    engine,
    told,
    attempts: () => told.filter((event) => event.type === 'attempt.finished'),
    heard: (type) => eventually(`telemetry ${type}`, () => find(type)),
  };
}

/** A receiver, closed at the end of the test. */
export async function receiver(options: WebhookReceiverOptions = {}): Promise<WebhookReceiver> {
  const started = await startWebhookReceiver(options);
  onTestFinished(() => started.close());
  return started;
}

/** A database with the tables in it. */
export function migrated(label: string): Promise<TestDatabase> {
  return createMigratedDatabase(label);
}

export async function emit(database: TestDatabase, payload: unknown, key: string | null = null): Promise<string> {
  const { rows } = await database.query<{ uid: string }>("select observers.emit('orders', $1::jsonb, $2) as uid", [
    JSON.stringify(payload),
    key,
  ]);
  return rows[0]?.uid ?? '';
}

/** In one transaction: `{ n: from }` … `{ n: to }`. */
export async function emitMany(database: TestDatabase, from: number, to: number, key = 'null'): Promise<void> {
  await database.query(
    `select observers.emit('orders', jsonb_build_object('n', n), ${key}) from generate_series($1::int, $2::int) n`,
    [from, to],
  );
}

/** `payload.n` of what arrived. */
export const numberOf = ({ body }: ReceivedWebhook): number => JSON.parse(body).data.payload.n;

export async function count(database: TestDatabase, table: string, where = 'true'): Promise<number> {
  const { rows } = await database.query<{ n: number }>(
    `select count(*)::int as n from observers.${table} where ${where}`,
  );
  return rows[0]?.n ?? 0;
}

/** Nothing captured is unrouted, and nothing is on its way. */
export function drained(database: TestDatabase, deliveries: number, withinMs?: number): Promise<true> {
  return eventually(
    `${deliveries} settled deliveries and an empty queue`,
    async () => {
      const { rows } = await database.query<{ done: boolean }>(
        `select not exists (select from observers.deliveries)
           and (select count(distinct delivery_id) from observers.attempts) >= $1 as done`,
        [deliveries],
      );
      return rows[0]?.done === true;
    },
    withinMs,
  );
}
