import type { EventRecord } from './event.ts';

/**
 * Which event led to which, in `observers.context` of the transactions of `sql` actions: `caused_by` is the uid of the event
 * whose action it was, `depth` how many such steps lie behind. What applications write has no depth.
 */
export interface Cause {
  readonly uid: string;
  readonly depth: number;
  /** The context of that event, which its consequences keep: who did it stays known. JSON. */
  readonly context: string | null;
}

/** How many `sql` actions led to this event: 0 for what an application did. */
export function depthOf({ context }: Pick<EventRecord, 'context'>): number {
  if (context === null || !context.includes('"depth"')) return 0;
  const { depth } = (JSON.parse(context) ?? {}) as { readonly depth?: unknown };
  return typeof depth === 'number' && Number.isInteger(depth) && depth > 0 ? depth : 0;
}

/** @param depth of the event; a person who replays a dead letter begins to count anew */
export function causeOf(event: EventRecord, depth: number): Cause {
  return { uid: event.uid, depth: depth + 1, context: event.context };
}
