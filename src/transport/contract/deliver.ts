/** Deliver: what is due is claimed, and settled with whatever came of it. */

import type { Delivery } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { DeadLetterReason } from '../../domain/outcome.ts';

export interface DeliveryQueue {
  /** @param memoryBytes for the events that come along, all together, about; the others are loaded when their turn comes */
  claim(wanted: readonly ClaimWish[], memoryBytes?: number): Promise<ClaimedBatch>;
  /** Events too large to come along with their claim. */
  loadEvent(delivery: Delivery): Promise<EventRecord | null>;
  /**
   * Reads a note. A `shared` one that is missing is this delivery's to leave from now on, until its claim ends.
   * @returns `busy` when another delivery is about to leave it; otherwise its value, null for none
   */
  openNote(delivery: Delivery, name: NoteName): Promise<OpenedNote>;
  /** @returns ids of the deliveries that were settled; the others had been taken over by another instance */
  settle(settlements: readonly Settlement[]): Promise<ReadonlySet<string>>;
  /** Hands claims back unattempted, due after `delayMs` at the earliest. @returns how many */
  release(claims: readonly Delivery[], delayMs: number): Promise<number>;
  /** Hands back whatever this instance has claimed save these: what it doesn't know of, or on shutdown all. @returns how many */
  releaseUnknown(held: readonly string[]): Promise<number>;
}

/** Names a note of the delivery's destination. */
export interface NoteName {
  readonly key: string;
  /** false: it is this delivery's own. */
  readonly shared: boolean;
}

export type OpenedNote = { readonly busy: true } | { readonly busy: false; readonly value: unknown };

export interface ClaimWish {
  readonly destination: string;
  readonly slots: number;
  /** How its tenants share the slots; null: it should have none. When it has, nothing is claimed, and the answer says so. */
  readonly turns?: TenantTurns | null;
  /** When it is time for those that are due; null or absent: at once. */
  readonly gather?: GatherWish | null;
}

/**
 * Nothing is claimed before the oldest has been due for `waitMs`, `enough` are due, or one is due again; then all that is due. What
 * waits stays in the queue. For each tenant by itself.
 */
export interface GatherWish {
  readonly waitMs: number;
  readonly enough: number;
  /** For one tenant at most: a request's worth. */
  readonly most: number;
}

/** Tenants take turns, by name, with an even share each; what has no tenant is one more of them. */
export interface TenantTurns {
  /** Who had the last turn; null: what has no tenant. */
  readonly after: string | null;
  /** The most for one of them. */
  readonly most: number;
  /** The most for those for whom it is another figure; 0: passed over. */
  readonly rooms: ReadonlyMap<string | null, number>;
}

/** What a look found of the tenants of a destination. */
export interface TenantsSeen {
  /** Anything of a tenant is ready, or will be when its time comes. */
  readonly any: boolean;
  readonly last: string | null;
  /** There may be more to claim at once. */
  readonly more: boolean;
  /** Of these there is more, and only the room they were given kept it there. */
  readonly heldBack: readonly (string | null)[];
}

export interface ClaimedBatch {
  readonly claimed: readonly ClaimedDelivery[];
  /** Milliseconds until the next delivery of the wanted destinations is due; null when none is waiting. */
  readonly nextDueMs: number | null;
  /** By destination, of those that may have tenants. */
  readonly tenants?: ReadonlyMap<string, TenantsSeen>;
}

export interface ClaimedDelivery {
  readonly delivery: Delivery;
  /** null: large, load it when its turn comes. */
  readonly event: EventRecord | null;
  /** What the event takes in memory as text, about; at least 1. */
  readonly bytes: number;
}

export interface Settlement {
  readonly delivery: Delivery;
  readonly kind: 'delivered' | 'retry' | 'dead';
  /** When the attempt began, in the time of performance.now(); null when there was none (a rule that is gone). */
  readonly startedAt: number | null;
  readonly durationMs: number;
  /** Only for `retry`. */
  readonly delayMs: number;
  /** Only for `dead`. */
  readonly reason: DeadLetterReason | null;
  readonly status: number | null;
  readonly errorClass: string | null;
  readonly errorMessage: string | null;
  readonly responseExcerpt: string | null;
  /** Only for `dead`: what was to be sent, without secrets. */
  readonly request: unknown;
  /** Only for `dead`, in an ordered lane: what follows waits until the dead letter is replayed with success or discarded. */
  readonly holdsLane: boolean;
  /** Whether the history keeps this attempt. */
  readonly keepAttempt: boolean;
  /** Written in the same transaction; null or absent: none. A value of null removes the note. */
  readonly note?: (NoteName & { readonly value: unknown }) | null;
  /** What it means for the destination and everything that waits for it, written in the same transaction; null or absent: nothing. */
  readonly hold?: RequestedHold | null;
}

/** A dead letter without an attempt. */
export function unattempted(
  delivery: Delivery,
  reason: DeadLetterReason,
  errorMessage: string,
  holdsLane: boolean,
): Settlement {
  return {
    delivery,
    kind: 'dead',
    startedAt: null,
    durationMs: 0,
    delayMs: 0,
    reason,
    status: null,
    errorClass: null,
    errorMessage,
    responseExcerpt: null,
    request: undefined,
    holdsLane,
    keepAttempt: false,
    hold: null,
  };
}

/** The receiver asked for nothing more, for a while or until a person says otherwise. */
export type RequestedHold =
  | { readonly kind: 'disabled'; readonly reason: string }
  | { readonly kind: 'paused'; readonly forMs: number };

/** A destination that is sent nothing: what is queued for it waits. */
export interface DestinationHold {
  readonly destination: string;
  /** null: it is only paused. */
  readonly disabledBy: 'person' | 'receiver' | null;
  readonly reason: string | null;
  /** Until its pause ends, milliseconds; 0: there is none. */
  readonly pausedForMs: number;
}

/**
 * Delivered, and nothing else follows: neither a lane nor a dead letter waits for it, nor a reader of its note, and its
 * destination goes on. Most outcomes are, and a batch of nothing else takes a statement half as dear.
 */
export function isPlain({ kind, delivery, note, hold }: Settlement): boolean {
  return kind === 'delivered' && delivery.orderingKey === null && delivery.deadLetterId === null && !note && !hold;
}
