import type pg from 'pg';
import { defineConfig, type SourceInput } from '../../src/config/index.ts';
import type { Config } from '../../src/domain/rules.ts';
import { applyCapture, type PlanStep, planCapture } from '../../src/transport/postgres/capture-plan.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

export interface CapturedEvent {
  readonly source: string;
  readonly operation: string;
  readonly key: string | null;
  readonly tenant: string | null;
  /** As PostgreSQL prints it. */
  readonly old: string | null;
  readonly new: string | null;
  readonly payload: string | null;
  readonly context: string | null;
  readonly fault: string | null;
}

/** A database with capture, and what a test does with one. */
export interface CaptureDatabase extends TestDatabase {
  /** Installs exactly these sources; a string is a table. */
  observe(sources: Record<string, SourceInput | string>): Promise<readonly PlanStep[]>;
  /** `kind subject` of the steps that are left to do. */
  plan(sources: Record<string, SourceInput | string>): Promise<string[]>;
  /** In the order of the log; then forgets them. */
  takeEvents(): Promise<CapturedEvent[]>;
  config(sources: Record<string, SourceInput | string>): Config;
  /** Connections as the program makes them. */
  readonly ours: pg.Pool;
}

export async function createCaptureDatabase(label: string): Promise<CaptureDatabase> {
  const database = await createDatabase(label);
  const ours = createPool(database.url, 4);
  const config = (sources: Record<string, SourceInput | string>) => configOf(database.url, sources);
  return {
    ...database,
    ours,
    config,
    observe: (sources) => applyCapture(ours, config(sources)),
    plan: async (sources) => inWords((await planCapture(ours, config(sources))).steps),
    takeEvents: () => takeEvents(database),
    drop: async () => {
      if (!ours.ended) await ours.end();
      await database.drop();
    },
  };
}

export const everything = ['insert', 'update', 'delete', 'truncate'] as const;

export function configOf(url: string, sources: Record<string, SourceInput | string>): Config {
  const written = Object.entries(sources).map(([name, source]) => [
    name,
    typeof source === 'string' ? { table: source, operations: [...everything] } : source,
  ]);
  return defineConfig({
    version: 1,
    database: url,
    sources: Object.fromEntries(written),
    settings: { listen: 'off' },
  });
}

export const inWords = (steps: readonly PlanStep[]) => steps.map((s) => `${s.kind} ${s.subject}: ${s.reason}`);

async function takeEvents(database: TestDatabase): Promise<CapturedEvent[]> {
  // One statement: an event that commits in between is not deleted unseen.
  const { rows } = await database.query<CapturedEvent>(
    `with taken as (delete from observers.events returning *)
     select source, operation, key, tenant, old::text, new::text, payload::text, context::text, capture_error as fault
     from taken order by id`,
  );
  return rows;
}

/** `operation key old → new`, for comparing many at once. */
export const brief = (events: readonly CapturedEvent[]) =>
  events.map((e) => [e.operation, e.key, e.old, e.new].map((part) => part ?? '-').join(' '));

/** Asks again until it is so. @throws with `what` when it never is */
export async function until<T>(what: string, ask: () => Promise<T | null | false | undefined>): Promise<T> {
  const deadline = performance.now() + 15_000;
  while (performance.now() < deadline) {
    const answer = await ask();
    if (answer) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited in vain for ${what}`);
}
