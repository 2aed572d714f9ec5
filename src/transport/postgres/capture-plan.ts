import { distance } from 'fastest-levenshtein';
import type pg from 'pg';
import { ConfigError, type ConfigProblem, UserError } from '../../domain/errors.ts';
import type { Config, TableSource } from '../../domain/rules.ts';
import {
  type CaptureFunction,
  captureFunction,
  captureTriggerName,
  captureTriggerSql,
  isRowLevel,
  whereProbe,
} from './capture-sql.ts';
import {
  type InstalledTrigger,
  type Relation,
  readInstalled,
  readTableNames,
  readTableShape,
  type TableShape,
} from './catalog.ts';
import { sqlState, withTransaction } from './connection.ts';
import { qualified, quoteIdentifier } from './identifiers.ts';
import { migrate, pendingMigrations } from './migrations.ts';

/** One statement that `apply` would run, and why. */
export interface PlanStep {
  readonly kind: 'migrate' | 'create' | 'replace' | 'enable' | 'drop';
  /** `trigger zz_… on public.orders`, `function observers.capture_…`, `migration 0001_observers`. */
  readonly subject: string;
  /** For people: `new`, `the rule changed`, `was disabled by hand`, … */
  readonly reason: string;
  readonly sql: string;
  /** The table whose writers wait while it runs; null for none. */
  readonly locks: string | null;
}

export interface Plan {
  readonly steps: readonly PlanStep[];
}

/**
 * What is missing or different between the sources of the file and what the database holds. Reads only.
 * @throws ConfigError when a source names what does not exist or can't be captured
 */
export async function planCapture(pool: pg.Pool, config: Config): Promise<Plan> {
  return withTransaction(pool, async (client) => {
    await client.query('set transaction read only');
    // So that pg_get_expr qualifies every name it prints.
    await client.query('set local search_path = pg_catalog');
    const migrations = (await pendingMigrations(client)).map(
      (m): PlanStep => ({
        kind: 'migrate',
        subject: `migration ${m.name}`,
        reason: 'not applied yet',
        sql: m.sql,
        locks: null,
      }),
    );
    const desired = await desiredCapture(client, config);
    const installed = await readInstalled(client);
    const wanted = new Map(desired.flatMap(({ functions }) => functions).map((fn) => [fn.name, fn]));
    const bodies = new Map(installed.functions.map((fn) => [fn.name, fn.body]));
    const steps = [
      ...migrations,
      ...functionSteps(wanted, bodies),
      ...desired.flatMap((d) => triggerSteps(d, installed.triggers)),
    ];
    return { steps: [...steps, ...dropSteps(wanted, desired, installed)] };
  });
}

interface DesiredCapture {
  readonly source: TableSource;
  readonly table: TableShape;
  readonly functions: readonly CaptureFunction[];
}

async function desiredCapture(client: pg.ClientBase, config: Config): Promise<DesiredCapture[]> {
  const problems: ConfigProblem[] = [];
  const desired: DesiredCapture[] = [];
  for (const source of config.sources.values()) {
    if (source.kind !== 'table') continue;
    const table = await readTableShape(client, source.schema, source.table);
    const found = table === null ? await unknownTable(client, source) : tableProblems(source, table);
    const where = table !== null && found.length === 0 ? await whereProblem(client, source, table) : null;
    for (const [message, hint] of where === null ? found : [where]) {
      problems.push({
        file: config.file ?? 'config',
        ...source.position,
        message: `source ${source.name}: ${message}`,
        hint,
      });
    }
    if (table !== null && found.length === 0) {
      desired.push({ source, table, functions: source.operations.map((op) => captureFunction(source, op, table)) });
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return desired;
}

type Complaint = readonly [message: string, hint: string | null];

async function unknownTable(client: pg.ClientBase, source: TableSource): Promise<Complaint[]> {
  const name = `${source.schema}.${source.table}`;
  const near = nearest(name, await readTableNames(client));
  return [[`there is no table ${name} in this database`, near === null ? null : `did you mean ${near}?`]];
}

function tableProblems(source: TableSource, table: TableShape): Complaint[] {
  const name = `${source.schema}.${source.table}`;
  if (table.kind !== 'r' && table.kind !== 'p') {
    const what = { v: 'a view', m: 'a materialized view', f: 'a foreign table' }[table.kind] ?? 'not a table';
    return [[`${name} is ${what}; only tables can be captured`, 'observe the tables behind it']];
  }
  const columns = table.columns.map((column) => column.name);
  const named = [...(source.columns ?? []), ...(source.tenant === null ? [] : [source.tenant])];
  return named
    .filter((column) => !columns.includes(column))
    .map((column): Complaint => {
      const near = nearest(column, columns);
      return [`${name} has no column ${column}`, near === null ? null : `did you mean ${near}?`];
    });
}

async function whereProblem(client: pg.ClientBase, source: TableSource, table: TableShape): Promise<Complaint | null> {
  if (source.where === null) return null;
  await client.query('savepoint probe');
  try {
    await client.query(whereProbe(source, table));
    return null;
  } catch (error) {
    if (sqlState(error) === undefined) throw error;
    return [
      `where: ${(error as Error).message}`,
      'SQL over new, old and the columns; qualify functions of your own with their schema',
    ];
  } finally {
    await client.query('rollback to savepoint probe');
  }
}

function nearest(name: string, candidates: readonly string[]): string | null {
  const ranked = candidates.map((c) => ({ c, d: distance(name, c) })).sort((a, b) => a.d - b.d)[0];
  return ranked !== undefined && ranked.d <= Math.max(2, name.length / 3) ? ranked.c : null;
}

function functionSteps(wanted: ReadonlyMap<string, CaptureFunction>, bodies: ReadonlyMap<string, string>): PlanStep[] {
  return [...wanted.values()].flatMap((fn): PlanStep[] => {
    const body = bodies.get(fn.name);
    if (body === fn.body) return [];
    const subject = `function observers.${quoteIdentifier(fn.name)}`;
    return [
      body === undefined
        ? { kind: 'create', subject, reason: 'new', sql: fn.sql, locks: null }
        : { kind: 'replace', subject, reason: 'the rule or the table changed', sql: fn.sql, locks: null },
    ];
  });
}

function triggerSteps(desired: DesiredCapture, installed: readonly InstalledTrigger[]): PlanStep[] {
  return desired.functions.flatMap((fn) =>
    desired.table.family.flatMap((relation) => triggerStep(desired, fn, relation, installed)),
  );
}

function triggerStep(
  { source, table }: DesiredCapture,
  fn: CaptureFunction,
  relation: Relation,
  installed: readonly InstalledTrigger[],
): PlanStep[] {
  const rowLevel = isRowLevel(source, fn.operation);
  // PostgreSQL itself clones a row trigger of a partitioned table to its partitions.
  if (rowLevel && table.kind === 'p' && relation.oid !== table.oid) return [];
  const where = qualified(relation.schema, relation.name);
  const name = captureTriggerName(source.name, fn.operation);
  const subject = `trigger ${name} on ${relation.schema}.${relation.name}`;
  const existing = installed.find((t) => t.relation === relation.oid && t.functionName === fn.name);
  const drop = `drop trigger ${quoteIdentifier(existing?.name ?? name)} on ${where}`;
  const mode = rowLevel ? 'enable always' : 'enable';
  const enable = `alter table ${where} ${mode} trigger ${quoteIdentifier(name)}`;
  const create = captureTriggerSql(source, fn, relation) + (rowLevel ? `;\n${enable}` : '');
  const step = (kind: PlanStep['kind'], reason: string, sql: string): PlanStep[] => [
    { kind, subject, reason, sql, locks: `${relation.schema}.${relation.name}` },
  ];
  if (existing === undefined) {
    return step(
      'create',
      relation.oid === table.oid ? 'missing' : `missing on a part of ${source.schema}.${source.table}`,
      create,
    );
  }
  if (existing.rowLevel !== rowLevel || existing.name !== name)
    return step('replace', 'the rule changed', `${drop};\n${create}`);
  if (existing.enabled !== (rowLevel ? 'A' : 'O')) {
    return step('enable', existing.enabled === 'D' ? 'was disabled' : 'is enabled differently', enable);
  }
  return [];
}

function dropSteps(
  wanted: ReadonlyMap<string, CaptureFunction>,
  desired: readonly DesiredCapture[],
  installed: Awaited<ReturnType<typeof readInstalled>>,
): PlanStep[] {
  const observed = new Map(
    desired.flatMap((d) => d.functions.map((fn) => [fn.name, new Set(d.table.family.map((r) => r.oid))])),
  );
  const triggers = installed.triggers
    .filter((t) => !observed.get(t.functionName)?.has(t.relation))
    .map(
      (t): PlanStep => ({
        kind: 'drop',
        subject: `trigger ${t.name} on ${t.schema}.${t.table}`,
        reason: 'no source asks for it any more',
        sql: `drop trigger ${quoteIdentifier(t.name)} on ${qualified(t.schema, t.table)}`,
        locks: `${t.schema}.${t.table}`,
      }),
    );
  const functions = installed.functions
    .filter((fn) => !wanted.has(fn.name))
    .map(
      (fn): PlanStep => ({
        kind: 'drop',
        subject: `function observers.${quoteIdentifier(fn.name)}`,
        reason: 'no source asks for it any more',
        sql: `drop function observers.${quoteIdentifier(fn.name)}()`,
        locks: null,
      }),
    );
  return [...triggers, ...functions];
}

/** Brings the database to what the file says; returns the steps taken. Running it twice takes none the second time. */
export async function applyCapture(
  pool: pg.Pool,
  config: Config,
  onStep: (step: PlanStep) => void = () => {},
  wanted: (step: PlanStep) => boolean = () => true,
): Promise<readonly PlanStep[]> {
  const before = await planCapture(pool, config);
  const migrating = before.steps.filter((step) => step.kind === 'migrate');
  if (migrating.length > 0) {
    await migrate(pool);
    for (const step of migrating) onStep(step);
  }
  // Planned anew: the migration may have changed what there is to do.
  const planned = migrating.length > 0 ? await planCapture(pool, config) : before;
  const steps = planned.steps.filter(wanted);
  for (const step of steps) {
    await applyStep(pool, step);
    onStep(step);
  }
  return [...migrating, ...steps];
}

/** A step each in a transaction of its own, so that no table stays locked while the next one is waited for. */
async function applyStep(pool: pg.Pool, step: PlanStep): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await withTransaction(pool, async (client) => {
        // Writers queue behind a waiting lock request: ask briefly and often rather than once and long.
        await client.query("set local lock_timeout = '500ms'");
        await client.query(step.sql);
      });
    } catch (error) {
      if (sqlState(error) === '55P03' && attempt < 30) continue;
      throw stepFailed(step, error);
    }
  }
}

function stepFailed(step: PlanStep, error: unknown): unknown {
  const reason = error instanceof Error ? error.message : String(error);
  if (sqlState(error) === '42501') {
    return new UserError(
      `This role may not change ${step.subject} (${reason}). Run \`pg-observers apply\` as the table's owner, then \`pg-observers run --no-apply\`.`,
      1,
      { cause: error },
    );
  }
  if (sqlState(error) === '55P03') {
    return new UserError(
      `${step.locks ?? step.subject} stayed locked by a long transaction: ${step.subject} was not changed. Run \`pg-observers apply\` again when it has ended.`,
      1,
      { cause: error },
    );
  }
  return error;
}
