import type { Destination } from '../../domain/rules.ts';
import type { DestinationFacts } from '../checks/destination.ts';
import { reach } from './connect.ts';
import { endpointOf } from './endpoint.ts';
import { greetMailServer, testSlackToken } from './talk.ts';

/** Longer than this no person wants to wait for a diagnosis. Milliseconds. */
const longestWait = 10_000;

/** Connects and talks, and sends nothing. Never rejects. */
export async function tryDestination(destination: Destination): Promise<DestinationFacts> {
  const endpoint = endpointOf(destination);
  const timeoutMs = Math.min(destination.timeoutMs, longestWait);
  const tls = destination.kind === 'webhook' ? destination.tls : null;
  // A mail server with its own authority is judged by the greeting, which goes by all that the file says about TLS.
  const first = destination.kind === 'email' && endpoint !== null ? { ...endpoint, tls: false } : endpoint;
  const reached = first === null ? null : await reach(first, tls, timeoutMs);
  const talk = reached === null || reached.failure !== null ? null : await talkTo(destination, timeoutMs);
  return { destination, endpoint, reach: reached, talk, now: Date.now() };
}

async function talkTo(destination: Destination, timeoutMs: number) {
  if (destination.kind === 'email') return greetMailServer(destination, timeoutMs);
  if (destination.kind === 'slack') return testSlackToken(destination, timeoutMs);
  return null;
}
