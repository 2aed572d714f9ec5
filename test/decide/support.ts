import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { onTestFinished } from 'vitest';
import { type ConfigInput, defineConfig } from '../../src/config/index.ts';
import type { EventRecord } from '../../src/domain/event.ts';
import type { Config } from '../../src/domain/rules.ts';
import type { TelemetryEvent } from '../../src/domain/telemetry.ts';
import { decide } from '../../src/pipeline/decide/decide.ts';
import { Router, type RouterOptions } from '../../src/pipeline/decide/router.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import type { Decisions, RoutingSession } from '../../src/transport/contract.ts';
import { applyCapture } from '../../src/transport/postgres/capture-plan.ts';
import { connectionConfig, createPool } from '../../src/transport/postgres/connection.ts';
import { isTransient } from '../../src/transport/postgres/failures.ts';
import {
  openRoutingSession,
  type RoutingOptions,
  resumeRouting,
} from '../../src/transport/postgres/routing-session.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';

export interface Rules {
  readonly sources: NonNullable<ConfigInput['sources']>;
  readonly observers: NonNullable<ConfigInput['observers']>;
}

/** One source `hot` on public.hot, whose every event leads to one delivery of `all/webhook-1`. */
export function hotRules(notify: boolean): Rules {
  return {
    sources: { hot: { table: 'public.hot', notify } },
    observers: { all: { source: 'hot', actions: [{ webhook: 'http://127.0.0.1:9/hot' }] } },
  };
}

export const hotTable = `
  create table public.hot (id integer primary key, v integer not null default 0);
  insert into public.hot select id from generate_series(1, 40) id`;

export interface Prepared {
  readonly database: TestDatabase;
  readonly config: Config;
  readonly rules: RuleIndex;
}

/** A database of its own with these tables and rules applied. */
export async function prepare(label: string, tables: string, rules: Rules): Promise<Prepared> {
  const database = await createMigratedDatabase(label);
  await database.query(tables);
  const config = configOf(database, rules);
  await apply(config);
  return { database, config, rules: new RuleIndex(config) };
}

export function configOf(
  database: TestDatabase,
  rules: Rules,
  settings: NonNullable<ConfigInput['settings']> = {},
): Config {
  return defineConfig({ version: 1, database: database.url, settings, ...rules }, { env: {} });
}

export async function apply(config: Config): Promise<void> {
  const pool = createPool(config.database, 3);
  try {
    await applyCapture(pool, config);
  } finally {
    await pool.end();
  }
}

/** A plain connection, ended with the test. */
export async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end().catch(() => {}));
  return client;
}

/** @throws Error when another session has the place */
export async function openSession(url: string, options?: RoutingOptions): Promise<RoutingSession> {
  const session = await openRoutingSession(url, options);
  if (session === null) throw new Error('another session routes');
  onTestFinished(() => session.close());
  return session;
}

/** A session that never asked for the place of the router. `asked` collects the parameters of its looks for a delta. */
export async function openRival(
  url: string,
  options?: RoutingOptions,
  asked: unknown[][] = [],
): Promise<RoutingSession> {
  const client = new (class extends pg.Client {
    // biome-ignore lint/suspicious/noExplicitAny: node-postgres declares a dozen overloads
    override query(...args: any[]): any {
      if (args[0]?.name === 'delta') asked.push(args[0].values);
      return Reflect.apply(super.query, this, args);
    }
  })(connectionConfig(url, 'router'));
  client.on('error', () => {});
  await client.connect();
  return resumeRouting(client, options);
}

/** Routes until there is nothing left. @returns the events, in order */
export async function drain(session: RoutingSession, rules: RuleIndex): Promise<EventRecord[]> {
  const routed: EventRecord[] = [];
  for (;;) {
    const events = await session.read();
    if (events.length === 0) return routed;
    if (!(await session.commit(decide(events, rules)))) throw new Error('another router moved the checkpoint');
    routed.push(...events);
  }
}

export const nothing: Decisions = { deliveries: [], faults: [] };

export interface TestRouter {
  readonly router: Router;
  readonly told: TelemetryEvent[];
  /** Uids of routed events. */
  readonly routed: Set<string>;
}

/** A started Router, stopped with the test. */
export function startRouter(
  prepared: Prepared,
  options: Partial<RouterOptions> & { session?: RoutingOptions } = {},
): TestRouter {
  const told: TelemetryEvent[] = [];
  const routed = new Set<string>();
  const router = new Router({
    openSession: () => openRoutingSession(prepared.config.database, options.session),
    rules: () => prepared.rules,
    pollIntervalMs: () => 20,
    reserve: () => null,
    onDeliveries: () => {},
    isTransient,
    ...options,
    telemetry: (event) => {
      if (event.type !== 'events.routed') told.push(event);
      else for (const { record } of event.events) routed.add(record.uid);
      options.telemetry?.(event);
    },
  });
  router.start();
  onTestFinished(() => router.stop());
  return { router, told, routed };
}

/** Polls a condition. @throws Error with its name when the time (milliseconds) is up */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 15_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(10);
  }
}

/** Counts and collects the payloads of wake-ups, until the end of the test. */
export async function wakeUps(url: string): Promise<string[]> {
  const heard: string[] = [];
  const client = await connect(url);
  client.on('notification', ({ payload }) => heard.push(payload ?? ''));
  await client.query('listen pg_observers_wake');
  return heard;
}

/** Ends every routing connection of the database. @returns how many */
export async function killRouters(database: TestDatabase): Promise<number> {
  const { rowCount } = await database.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'pg-observers router'",
  );
  return rowCount ?? 0;
}
