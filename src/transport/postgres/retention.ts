import type pg from 'pg';
import { type DueBecause, droppableForSize, dueByAge, type RetentionPolicy } from '../../domain/retention.ts';
import { formatSize } from '../../domain/size.ts';
import { type ArchivedDay, ArchiveError, type DayArchive } from '../contract.ts';
import { type DropOptions, type DropResult, dropDay } from './day-drop.ts';
import { type LogDays, type OwnedDay, readLogDays, whatHolds } from './log-days.ts';

/** What became of a day that was due. */
export interface RetentionStep {
  readonly partition: string;
  readonly bytes: number;
  readonly rows: number | null;
  readonly because: DueBecause;
  /** `due`: a dry run would have dropped it. `failed`: the archive did not take it, or this role may not drop it. */
  readonly result: 'dropped' | 'due' | 'held' | 'busy' | 'failed';
  /** Why it stays; null when it does not. */
  readonly why: string | null;
  readonly archived: ArchivedDay | null;
}

export interface RetentionRun {
  readonly steps: readonly RetentionStep[];
  /** Log and history on disk, afterwards. */
  readonly bytes: number;
  /** What somebody must do something about; empty when all is as the settings say. */
  readonly complaints: readonly string[];
}

export interface RetentionOptions extends Omit<DropOptions, 'archive'> {
  readonly policy: RetentionPolicy;
  /** As `policy.archive` says. */
  readonly archive: DayArchive | null;
  /** Only says what it would do. */
  readonly dryRun?: boolean;
  /** Told of each day as it is done with. */
  readonly onStep?: (step: RetentionStep) => void;
}

/** Drops the days that are too old, then the oldest ones until the rest is small enough; each into the archive before. */
export async function enforceRetention(pool: pg.Pool, options: RetentionOptions): Promise<RetentionRun> {
  const { policy, signal, onStep } = options;
  const log = await readLogDays(pool);
  const steps: RetentionStep[] = [];
  let bytes = totalBytes(log);
  const aged = dueByAge(log.days, policy);
  const perhaps = droppableForSize(log.days).filter((day) => !aged.includes(day));
  const take = async (day: OwnedDay, because: DueBecause) => {
    const step = { ...(await settle(pool, day, options)), because };
    if (step.result === 'dropped' || step.result === 'due') bytes -= day.bytes;
    steps.push(step);
    onStep?.(step);
  };
  for (const day of aged) if (!signal?.aborted) await take(day, 'age');
  for (const day of perhaps) if (!signal?.aborted && isOver(bytes, policy)) await take(day, 'size');
  return { steps, bytes, complaints: [...failures(steps), ...tooLarge(steps, bytes, policy)] };
}

const isOver = (bytes: number, { maxBytes }: RetentionPolicy): boolean => maxBytes !== null && bytes > maxBytes;

export const totalBytes = ({ days, defaults }: LogDays): number =>
  [...days, ...defaults].reduce((sum, { bytes }) => sum + bytes, 0);

async function settle(
  pool: pg.Pool,
  day: OwnedDay,
  options: RetentionOptions,
): Promise<Omit<RetentionStep, 'because'>> {
  const about = { partition: day.name, bytes: day.bytes, rows: day.rows, archived: null, why: null };
  if (!day.owned) return { ...about, result: 'failed', why: mayNotDrop };
  try {
    const done = options.dryRun ? await look(pool, day, options) : await dropDay(pool, day, options);
    return { ...about, ...done };
  } catch (error) {
    // What is wrong with the archive is wrong for this day; a database that is away is nothing to go on with.
    if (error instanceof ArchiveError) return { ...about, result: 'failed', why: error.message };
    throw error;
  }
}

type Look = Exclude<DropResult, { result: 'dropped' }> | { readonly result: 'due' };

async function look(pool: pg.Pool, day: OwnedDay, { archive }: RetentionOptions): Promise<Look> {
  const why = await whatHolds(pool, day);
  if (why !== null) return { result: 'held', why };
  await archive?.check();
  return { result: 'due' };
}

const mayNotDrop = 'this role may not: run `pg-observers apply` and `run` as the owner of the schema observers';

/** The same reason for many days is said once. */
function failures(steps: readonly RetentionStep[]): string[] {
  const reasons = steps.flatMap(({ result, why }) => (result === 'failed' && why !== null ? [why] : []));
  return [...new Set(reasons)].map((why) => {
    const days = steps.filter((step) => step.result === 'failed' && step.why === why);
    return `${days[0]?.partition}${days.length === 1 ? '' : ` and ${days.length - 1} more`} can't be dropped: ${why}`;
  });
}

function tooLarge(steps: readonly RetentionStep[], bytes: number, policy: RetentionPolicy): string[] {
  if (policy.maxBytes === null || bytes <= policy.maxBytes) return [];
  const kept = steps.filter(({ result }) => result === 'held' || result === 'busy');
  const why = kept.slice(0, 3).map(({ partition, why: reason }) => `${partition}: ${reason}`);
  const reasons = kept.length === 0 ? ['what is left is not over yet, or not dated'] : why;
  return [
    `log and history take ${formatSize(bytes)}, more than retention.max_size (${formatSize(policy.maxBytes)}), and can't be made smaller: ${reasons.join('; ')}`,
  ];
}
