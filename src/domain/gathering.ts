import type { Destination } from './rules.ts';

/** How deliveries of one action become one request (`batch`), or one mail (`digest`). */
export interface Gathering {
  /** So long the oldest waits for others, from when it was due, by the database's clock. Milliseconds. */
  readonly waitMs: number;
  /** So many that are due wait no longer. */
  readonly enough: number;
  /** In one request, at most. */
  readonly most: number;
  /** Of a request, about; a delivery that has more by itself goes alone. */
  readonly maxBytes: number;
  /** The receiver's answer names those that failed; false: the answer is about all of them. */
  readonly perItem: boolean;
}

/** null: each delivery is a request of its own. */
export function gatheringOf(destination: Destination): Gathering | null {
  return 'gathering' in destination ? destination.gathering : null;
}
