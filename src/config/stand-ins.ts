/**
 * What an unset variable stands for where rules are only tried out (`pg-observers test`): something that the key it stands at
 * takes, and that leads nowhere. Secrets are thus never needed to test rules.
 */
import { createHash } from 'node:crypto';
import type { Path } from './pointer.ts';

/** Reserved by RFC 2606 for names that never resolve. */
const nowhere = 'stand-in.invalid';

type StandIn = (name: string) => string;

const byKey: Readonly<Record<string, StandIn>> = {
  url: (name) => `http://${nowhere}/${encodeURIComponent(name)}`,
  webhook: (name) => `http://${nowhere}/${encodeURIComponent(name)}`,
  webhook_url: (name) => `http://${nowhere}/${encodeURIComponent(name)}`,
  api_url: () => `http://${nowhere}/`,
  smtp: () => `smtp://${nowhere}`,
  database: () => `postgres://${nowhere}/stand-in`,
  direct_database: () => `postgres://${nowhere}/stand-in`,
  // One of its own for each: a list of keys holds none twice.
  secret: (name) => `whsec_${createHash('sha256').update(name).digest('base64')}`,
  from: () => `stand-in@${nowhere}`,
};

const numbers: ReadonlySet<string> = new Set(['concurrency', 'attempts', 'factor', 'failure_rate', 'minimum']);
const durations: ReadonlySet<string> = new Set([
  'timeout',
  'initial',
  'max',
  'window',
  'open_for',
  'poll_interval',
  'instance_timeout',
]);

/** @param alone whether the variable is the whole value, and not a part of a text */
export function standIn(name: string, path: Path, alone: boolean): string {
  if (!alone) return name;
  // A list of secrets: the key is above the item.
  const key = String(path.findLast((step) => typeof step === 'string') ?? '');
  // Within an action, `webhook` names a destination or is a URL; `from`, `url` and others may be keys of a body.
  const isTemplate = path[0] === 'observers' && path.length > 5 && path[4] !== 'retry';
  if (isTemplate) return name;
  if (numbers.has(key)) return '1';
  if (durations.has(key)) return '1s';
  if (key === 'rate_limit') return '1/s';
  return Object.hasOwn(byKey, key) ? (byKey[key]?.(name) ?? name) : name;
}
