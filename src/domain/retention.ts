/** How long the past is kept: which days are due, and why. */

export interface RetentionPolicy {
  readonly eventsMs: number;
  readonly attemptsMs: number;
  /** What log and history may take on disk together, with their indexes; null: no bound. */
  readonly maxBytes: number | null;
  /** Where days are written before they are dropped; null: nowhere. */
  readonly archive: { readonly directory: string } | null;
}

export type LogTable = 'events' | 'attempts';

/** One day of the log, or of the history: a table of its own. */
export interface LogDay {
  /** `events_20261121` */
  readonly name: string;
  readonly table: LogTable;
  /** `2026-11-21`, in UTC. */
  readonly day: string;
  /** On disk, with indexes. */
  readonly bytes: number;
  /** Estimated by the planner's statistics; null: not known yet. */
  readonly rows: number | null;
  /** Milliseconds since its end, by the database's clock; negative: it has not ended. */
  readonly endedMs: number;
}

export type DueBecause = 'age' | 'size';

/** Whose time is over, the oldest first. A day counts as old as its youngest event. */
export function dueByAge<Day extends LogDay>(days: readonly Day[], policy: RetentionPolicy): Day[] {
  return oldestFirst(days).filter(
    (day) => day.endedMs >= (day.table === 'events' ? policy.eventsMs : policy.attemptsMs),
  );
}

/** What may go for its size: days that have ended, the oldest first. Today's is being written. */
export function droppableForSize<Day extends LogDay>(days: readonly Day[]): Day[] {
  return oldestFirst(days).filter((day) => day.endedMs >= 0);
}

/** The history of a day before its events: it says less. */
function oldestFirst<Day extends LogDay>(days: readonly Day[]): Day[] {
  const order = ({ day, table }: LogDay) => `${day} ${table}`;
  return days.toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
}
