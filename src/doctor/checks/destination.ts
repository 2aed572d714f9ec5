import type { Destination } from '../../domain/rules.ts';
import type { Reach } from '../destinations/connect.ts';
import type { Endpoint } from '../destinations/endpoint.ts';
import type { Talk } from '../destinations/talk.ts';
import { ok, problem, type Verdict, warning } from '../finding.ts';

export interface DestinationFacts {
  readonly destination: Destination;
  /** null: nothing to connect to, or only events know where. */
  readonly endpoint: Endpoint | null;
  readonly reach: Reach | null;
  readonly talk: Talk | null;
  /** Unix milliseconds. */
  readonly now: number;
}

const day = 86_400_000;
/** Certificates that renew themselves do so a month before. */
const soon = 14 * day;

/** One destination, tried without sending anything. */
export function judgeDestination({ destination, endpoint, reach, talk, now }: DestinationFacts): Verdict {
  if (endpoint === null || reach === null) return notTried(destination);
  const where = `${endpoint.host}:${endpoint.port}`;
  if (reach.failure !== null) return unreached(where, reach);
  if (talk !== null && talk.failure !== null) return problem(`${where}: ${talk.failure}`, remedyOf(destination));
  const left = reach.certificateEnds === null ? null : reach.certificateEnds - now;
  const sentence = [
    `${where} answers in ${Math.round(reach.tookMs ?? 0)} ms`,
    talk?.said,
    left === null ? null : certificate(left),
  ]
    .filter((part) => part !== null && part !== undefined)
    .join(', ');
  if (left !== null && left < soon) return warning(sentence, 'renew the certificate of that server');
  if (endpoint.exposed)
    return warning(`${sentence}, without TLS`, 'use https:// : data and signatures can be read on the way');
  return ok(sentence);
}

function notTried(destination: Destination): Verdict {
  if (destination.kind === 'webhook') return ok('not tried: its host comes from events');
  return ok(`nothing to connect to (${destination.kind})`);
}

const remedies = {
  dns: 'check the host name, and the DNS of this host',
  connect: 'is the server running, and do firewalls and proxies let this host through?',
  tls: 'renew or correct its certificate; for an authority of your own see `tls.ca` in docs/webhooks.md',
} as const;

function unreached(where: string, { failure }: Reach): Verdict {
  return problem(`${where}: ${failure?.reason}`, remedies[failure?.at ?? 'connect']);
}

function remedyOf({ kind }: Destination): string {
  if (kind === 'email')
    return 'check user, password and port of `smtp`, and whether the server wants TLS from the first byte (smtps://)';
  return 'check the token, and that its app is still installed in the workspace';
}

/** In days as long as one may want to count them. */
const certificate = (left: number): string =>
  left > 90 * day ? 'its certificate is valid' : `its certificate ends in ${Math.floor(left / day)} days`;
