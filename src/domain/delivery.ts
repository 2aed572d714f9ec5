import { hash } from 'node:crypto';

/** One (event, observer, action) on its way to a destination. */
export interface Delivery {
  /** Digits of a bigint. */
  readonly id: string;
  /** Fence: only the holder of the current lease may settle. Digits of a bigint. */
  readonly lease: string;
  readonly observer: string;
  readonly action: string;
  readonly destination: string;
  readonly tenant: string | null;
  readonly orderingKey: string | null;
  /** Attempts already settled before this one. */
  readonly attempts: number;
  /** Set when this delivery replays a dead letter. */
  readonly deadLetterId: string | null;
  /** Set when `pg-observers replay` queued it: the number of that run. */
  readonly replayRun?: string | null;
  readonly ruleVersion: string;
  /** The same for those that failed in one request, so that they go again in one; null or absent: it goes with whatever is due. */
  readonly together?: string | null;
  /** When it was queued, by the database's clock and in the time of performance.now(). */
  readonly queuedAt: number;
}

/** Not for the first time, or not at the event's own time: a person asked for it. */
export function isReplay({ deadLetterId, replayRun }: Delivery): boolean {
  return deadLetterId !== null || (replayRun ?? null) !== null;
}

/**
 * The id a receiver sees (`webhook-id`, `Message-ID`): the same for every retry and replay of one
 * (event, observer, action), so that a receiver can drop repeats. No `.` inside: Standard Webhooks signs `id.timestamp.body`.
 */
export function messageId(eventUid: string, observer: string, action: string): string {
  const digest = hash('sha256', `${eventUid}\n${observer}\n${action}`, 'base64url');
  return `msg_${digest.slice(0, 27)}`;
}

/** The id of a request that holds several: the same whenever it holds the same ones in the same order. */
export function commonMessageId(messageIds: readonly string[]): string {
  const [only] = messageIds;
  if (messageIds.length === 1 && only !== undefined) return only;
  return `msg_${hash('sha256', messageIds.join('\n'), 'base64url').slice(0, 27)}`;
}
