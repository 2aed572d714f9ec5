/** The words in which a policy names outcomes: `503`, `5xx`, `500-503`, `smtp_5xx`, `5.7.1`, `timeout`, `slack_…`. */

export type Protocol = 'http' | 'smtp';

/** Statuses of a protocol. */
export interface StatusPattern {
  readonly kind: 'status';
  /** null: of whatever protocol the destination speaks. */
  readonly protocol: Protocol | null;
  /** Both inclusive, 100 … 999. */
  readonly from: number;
  readonly to: number;
}

/** An error class or another stable name. */
export interface NamePattern {
  readonly kind: 'name';
  readonly name: string;
}

export type OutcomePattern = StatusPattern | NamePattern;

/** Failures in which nobody answered. `network` stands for all of them, and for those without a name of their own. */
export const networkNames: readonly string[] = [
  'network',
  'timeout',
  'dns',
  'tls',
  'connection_refused',
  'connection_reset',
  'unreachable',
  'protocol',
];

/** Names of failures that are no statuses and no codes. */
export const knownNames: readonly string[] = [
  ...networkNames,
  'auth',
  // No access token for the receiver.
  'oauth2_token',
  'address_refused',
];

const status = /^(?:(http|smtp)_)?(?:([1-9])xx|([1-9]\d\d)(?:-([1-9]\d\d))?)$/;
/** RFC 3463; `5.7.x`: all of a subject. */
const enhanced = /^[245]\.\d{1,3}\.(\d{1,3}|x)$/;
const slackCode = /^slack_[a-z0-9][a-z0-9_]{0,63}$/;
/** `sql_23505`; `sql_23`: all of a class. And what a module calls its failures. */
const ofOneKind = /^(?:sql_[0-9a-z]{2}(?:[0-9a-z]{3})?|module_[a-z0-9_]{1,63})$/;

/** null when it is none. */
export function parsePattern(text: string): OutcomePattern | null {
  const [matched, protocol, hundred, from, to] = status.exec(text) ?? [];
  if (matched !== undefined) {
    const first = hundred === undefined ? Number(from) : Number(hundred) * 100;
    const last = hundred === undefined ? Number(to ?? from) : first + 99;
    return first > last
      ? null
      : { kind: 'status', protocol: (protocol as Protocol | undefined) ?? null, from: first, to: last };
  }
  const isName = enhanced.test(text) || slackCode.test(text) || ofOneKind.test(text) || knownNames.includes(text);
  return isName ? { kind: 'name', name: text } : null;
}

/** The kind of destination whose outcomes alone bear such a name; null: any. */
export function kindOfName(pattern: OutcomePattern): string | null {
  return pattern.kind === 'name' ? (/^(slack|sql|module)_/.exec(pattern.name)?.[1] ?? null) : null;
}

/** The protocol whose outcomes alone it can name; null: any. */
export function protocolOf(pattern: OutcomePattern): Protocol | null {
  if (pattern.kind === 'status') return pattern.protocol;
  if (enhanced.test(pattern.name) || pattern.name === 'auth') return 'smtp';
  return pattern.name.startsWith('slack_') ? 'http' : null;
}

/** `5xx`, however it is written. */
export function isClass({ from, to }: StatusPattern): boolean {
  return from % 100 === 0 && to === from + 99;
}

/** As it would be written. */
export function formatPattern(pattern: OutcomePattern): string {
  if (pattern.kind === 'name') return pattern.name;
  const { protocol, from, to } = pattern;
  const prefix = protocol === null ? '' : `${protocol}_`;
  if (from === to) return `${prefix}${from}`;
  return isClass(pattern) ? `${prefix}${from / 100}xx` : `${prefix}${from}-${to}`;
}
