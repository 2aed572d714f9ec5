import type { HttpReply } from '../../../src/receivers/http-listener.ts';
import type { Random } from '../random.ts';
import type { Behaviour } from '../receivers.ts';

export type Failure = 'refusal' | 'reset' | 'truncation' | 'hang' | 'slowness';

export interface Unreliable {
  /** How often an attempt meets a failure, 0 … 1. */
  readonly rate: number;
  readonly failures: readonly Failure[];
  /** Of slowness, at most. Well below the timeout, or who gave up first can't be told. Milliseconds. */
  readonly slowMs: number;
}

/** A receiver that fails now and then. Slowness is no failure: it answers in the end. */
export function unreliable(random: Random, { rate, failures, slowMs }: Unreliable): Behaviour {
  return () => {
    if (!random.chance(rate)) return null;
    return replyOf(random.pick(failures), random, slowMs);
  };
}

/** A receiver that is down for everybody. */
export function down(how: Exclude<Failure, 'slowness'>, random: Random): Behaviour {
  return () => replyOf(how, random, 0);
}

function replyOf(failure: Failure, random: Random, slowMs: number): HttpReply {
  switch (failure) {
    case 'refusal':
      return random.chance(0.2)
        ? { status: 429, headers: { 'retry-after': '1' } }
        : { status: random.pick([500, 502, 503, 504]), body: 'not now' };
    case 'reset':
      return { misbehave: 'reset' };
    case 'truncation':
      return { status: 200, body: '{"ok":', misbehave: 'truncate' };
    case 'hang':
      return { misbehave: random.chance(0.5) ? 'hang-before-headers' : 'hang-after-headers' };
    case 'slowness':
      return { status: 204, delayMs: random.between(20, slowMs) };
  }
}
