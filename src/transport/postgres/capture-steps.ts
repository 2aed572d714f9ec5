/** The steps from the functions and triggers that are installed to those that are wanted. */

import { isRowLevel } from './capture-rows-sql.ts';
import type { DesiredCapture } from './capture-sources.ts';
import { type CaptureFunction, captureTriggerName, captureTriggerSql } from './capture-sql.ts';
import type { InstalledFunction, InstalledTrigger, Relation } from './catalog.ts';
import { qualified, quoteIdentifier } from './identifiers.ts';

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

export function functionSteps(wanted: readonly CaptureFunction[], installed: readonly InstalledFunction[]): PlanStep[] {
  return wanted.flatMap((fn): PlanStep[] => {
    const existing = installed.find(({ name }) => name === fn.name);
    const step = { subject: `function observers.${quoteIdentifier(fn.name)}`, sql: fn.sql, locks: null };
    if (existing === undefined) return [{ kind: 'create', reason: 'new', ...step }];
    if (existing.body !== fn.body) return [{ kind: 'replace', reason: 'the rule or the table changed', ...step }];
    if (!isPinned(fn, existing)) return [{ kind: 'replace', reason: 'its settings or rights were changed', ...step }];
    return [];
  });
}

function isPinned(fn: CaptureFunction, installed: InstalledFunction): boolean {
  const found = installed.settings.map((setting) => setting.replace(/^[^=]+/, (name) => name.toLowerCase()));
  const wanted = Object.entries(fn.settings).map(([name, value]) => `${name}=${value}`);
  return (
    installed.securityDefiner && !installed.executableByPublic && found.toSorted().join() === wanted.toSorted().join()
  );
}

interface DesiredTrigger {
  readonly fn: CaptureFunction;
  readonly name: string;
  readonly relation: Relation;
  readonly rowLevel: boolean;
  /** A partition's clone of its parent's trigger: PostgreSQL makes it and drops it. */
  readonly clone: boolean;
  /** The table of the source, when this is not itself. */
  readonly partOf: string | null;
  readonly create: string;
  readonly enable: string;
}

export function desiredTriggers({ source, table, functions }: DesiredCapture): DesiredTrigger[] {
  return functions.flatMap((fn) =>
    table.family.map((relation) => {
      const rowLevel = isRowLevel(source, fn.operation);
      const name = captureTriggerName(source.name, fn.operation);
      const mode = rowLevel ? 'enable always' : 'enable';
      const enable = `alter table ${qualified(relation.schema, relation.name)} ${mode} trigger ${quoteIdentifier(name)}`;
      const isTable = relation.oid === table.oid;
      return {
        fn,
        name,
        relation,
        rowLevel,
        clone: rowLevel && table.kind === 'p' && !isTable,
        partOf: isTable ? null : `${source.schema}.${source.table}`,
        create: captureTriggerSql(source, fn, relation) + (rowLevel ? `;\n${enable}` : ''),
        enable,
      };
    }),
  );
}

export function triggerSteps(wanted: DesiredTrigger, installed: readonly InstalledTrigger[]): PlanStep[] {
  const { relation, name } = wanted;
  const step = (kind: PlanStep['kind'], reason: string, sql: string): PlanStep[] => [
    { kind, ...triggerSubject(name, relation), reason, sql },
  ];
  const existing = installed.find((t) => isSame(wanted, t));
  if (existing === undefined) {
    if (wanted.clone) return [];
    return step('create', wanted.partOf === null ? 'missing' : `missing on a part of ${wanted.partOf}`, wanted.create);
  }
  if (existing.enabled === (wanted.rowLevel ? 'A' : 'O')) return [];
  return step('enable', existing.enabled === 'D' ? 'was disabled' : 'is enabled differently', wanted.enable);
}

const isSame = (wanted: DesiredTrigger, t: InstalledTrigger) =>
  t.relation === wanted.relation.oid &&
  t.name === wanted.name &&
  t.functionName === wanted.fn.name &&
  t.rowLevel === wanted.rowLevel &&
  t.clone === wanted.clone;

/**
 * Triggers that must become others (row-level instead of statement-level, another name), by function. In one transaction
 * with the function, as neither works with the other's old form, and no change may slip through in between.
 */
export function replaceSteps(
  wanted: readonly DesiredTrigger[],
  installed: readonly InstalledTrigger[],
): ReadonlyMap<string, PlanStep> {
  const steps = new Map<string, PlanStep>();
  const wrong = installed.filter((t) => isAskedFor(wanted, t) && !t.clone && !wanted.some((w) => isSame(w, t)));
  for (const name of new Set(wrong.map((t) => t.functionName))) {
    const ours = wanted.filter((w) => w.fn.name === name);
    const missing = ours.filter((w) => !w.clone && !installed.some((t) => isSame(w, t)));
    const [first] = ours;
    if (first === undefined) continue;
    const drops = wrong.filter((t) => t.functionName === name).map(dropSql);
    steps.set(name, {
      kind: 'replace',
      ...triggerSubject(first.name, first.relation),
      reason: 'the rule changed',
      sql: [first.fn.sql, ...drops, ...missing.map((w) => w.create)].join(';\n'),
    });
  }
  return steps;
}

const isAskedFor = (wanted: readonly DesiredTrigger[], t: InstalledTrigger) =>
  wanted.some((w) => w.relation.oid === t.relation && w.fn.name === t.functionName);

const dropSql = (t: InstalledTrigger) => `drop trigger ${quoteIdentifier(t.name)} on ${qualified(t.schema, t.table)}`;

export function dropTriggerSteps(
  wanted: readonly DesiredTrigger[],
  installed: readonly InstalledTrigger[],
): PlanStep[] {
  return installed
    .filter((t) => !t.clone && !isAskedFor(wanted, t))
    .map((t) => ({
      kind: 'drop',
      ...triggerSubject(t.name, { schema: t.schema, name: t.table }),
      reason: 'no source asks for it any more',
      sql: dropSql(t),
    }));
}

function triggerSubject(name: string, { schema, name: table }: { schema: string; name: string }) {
  return { subject: `trigger ${name} on ${schema}.${table}`, locks: `${schema}.${table}` };
}

export function dropFunctionSteps(
  wanted: ReadonlyMap<string, CaptureFunction>,
  installed: readonly InstalledFunction[],
): PlanStep[] {
  return installed
    .filter((fn) => !wanted.has(fn.name))
    .map((fn) => ({
      kind: 'drop',
      subject: `function observers.${quoteIdentifier(fn.name)}`,
      reason: 'no source asks for it any more',
      sql: `drop function observers.${quoteIdentifier(fn.name)}()`,
      locks: null,
    }));
}
