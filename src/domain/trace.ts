/**
 * Distributed traces, as W3C Trace Context (https://www.w3.org/TR/trace-context/) writes them.
 *
 * Ids are computed, not kept: from the event's uid and what is attempted for it. So every instance, also after a restart and
 * days later, names the same span for the same thing, and the queue needs no column for it.
 */
import { hash } from 'node:crypto';
import type { EventRecord, JsonText } from './event.ts';

export interface SpanId {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
}

export interface Trace {
  readonly traceId: string;
  /** The application's span in which the change was made; null when it named none. */
  readonly parent: SpanId | null;
  /** Whether spans of it are wanted. */
  readonly sampled: boolean;
}

/** What a receiver gets. */
export interface TraceHeaders {
  readonly traceparent: string;
  readonly tracestate: string | null;
}

interface WrittenContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: number;
  readonly headers: TraceHeaders;
}

/**
 * The trace that an event belongs to: its writer's, when that has set `traceparent` in observers.context, else one of its own.
 * @param share of traces of our own that are sampled: 0 … 1. A writer's says for itself.
 */
export function traceOf(event: EventRecord, share: number): Trace {
  const written = writtenContext(event.context);
  if (written !== null) {
    const { traceId, spanId, flags } = written;
    return { traceId, parent: { traceId, spanId }, sampled: (flags & 1) === 1 };
  }
  const traceId = digest(event.uid).slice(0, 32);
  return { traceId, parent: null, sampled: Number.parseInt(traceId.slice(0, 8), 16) / 2 ** 32 < share };
}

export const eventSpanId = ({ uid }: EventRecord): string => spanId(uid, 'event');
export const decideSpanId = ({ uid }: EventRecord): string => spanId(uid, 'decide');
export const attemptSpanId = ({ uid }: EventRecord, delivery: string, attempt: number): string =>
  spanId(uid, 'attempt', delivery, String(attempt));
export const burialSpanId = ({ uid }: EventRecord, delivery: string): string => spanId(uid, 'burial', delivery);

/**
 * For the receiver of an attempt. Without spans of ours (`share` null) the writer's context is passed on as it is, as the
 * specification asks of those who take no part; without either there is none.
 */
export function traceHeaders(
  event: EventRecord,
  delivery: string,
  attempt: number,
  share: number | null,
): TraceHeaders | null {
  if (share === null) return event.context === null ? null : (writtenContext(event.context)?.headers ?? null);
  const { traceId, sampled } = traceOf(event, share);
  return {
    traceparent: `00-${traceId}-${attemptSpanId(event, delivery, attempt)}-${sampled ? '01' : '00'}`,
    tracestate: writtenContext(event.context)?.headers.tracestate ?? null,
  };
}

const format = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
/** Printable, and not longer than what everybody passes on: "at least 512 characters". */
const usableState = /^[\x20-\x7e]{1,512}$/;

/** null when there is none, or none that the specification lets anybody use. */
function writtenContext(context: JsonText | null): WrittenContext | null {
  if (context === null || !context.includes('"traceparent"')) return null;
  const { traceparent, tracestate } = JSON.parse(context) as Record<string, unknown>;
  if (typeof traceparent !== 'string') return null;
  const [, version, traceId = '', span = '', flags = '', more] = format.exec(traceparent) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(span)) return null;
  const state = typeof tracestate === 'string' && usableState.test(tracestate) ? tracestate : null;
  return {
    traceId,
    spanId: span,
    flags: Number.parseInt(flags, 16),
    headers: { traceparent, tracestate: state },
  };
}

function spanId(...parts: readonly string[]): string {
  return digest(parts.join('\n')).slice(0, 16);
}

const digest = (text: string): string => hash('sha256', text, 'hex');
