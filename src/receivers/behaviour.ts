import { parseDuration } from '../config/units.ts';

/** What goes wrong instead of an answer, or after it has begun. */
export const faults = [
  'hang-before-headers',
  'hang-after-headers',
  'reset-mid-request',
  'reset-mid-response',
  'truncate',
] as const;
export type Fault = (typeof faults)[number];

export type AnswerBody =
  | { readonly kind: 'text'; readonly text: string }
  /** The request itself, headers and all, as a careless receiver shows it in its error page. */
  | { readonly kind: 'echo' }
  /** A few KB that unpack to 50 MB. */
  | { readonly kind: 'gzip-bomb' }
  | { readonly kind: 'huge'; readonly bytes: number }
  | { readonly kind: 'invalid-utf8' }
  /** Never ends. */
  | { readonly kind: 'drip'; readonly bytesPerSecond: number };

/** How a receiver answers. */
export interface Behaviour {
  /** In turn for the attempts of one message, the last one from then on; null: whatever fits the rest. */
  readonly statuses: readonly number[] | null;
  /** 0 … 1: this share of the requests is answered with 503. */
  readonly failRate: number;
  readonly delayMs: number;
  readonly fault: Fault | null;
  /** 1xx answers that go before the answer. */
  readonly informational: readonly number[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AnswerBody | null;
}

export const friendly: Behaviour = Object.freeze({
  statuses: null,
  failRate: 0,
  delayMs: 0,
  fault: null,
  informational: [],
  headers: {},
  body: null,
});

/** One word of the language in which options and paths ask for misbehaviour. */
export interface BehaviourWord {
  /** What follows it, for help; null: nothing. */
  readonly value: string | null;
  readonly help: string;
  /** null when the value makes no sense. */
  read(value: string): Partial<Behaviour> | null;
}

const faultWords = {
  'hang-before-headers': 'never answers',
  'hang-after-headers': 'sends status and headers, then nothing',
  'reset-mid-request': 'resets the connection before it has read the body',
  'reset-mid-response': 'resets the connection in the middle of the answer',
  truncate: 'ends the connection before the answer is as long as it promised',
} as const satisfies Record<Fault, string>;

/** The same words on the command line (`--delay 2s`) and in a path (`/delay/2s`). */
export const behaviourWords: Readonly<Record<string, BehaviourWord>> = {
  status: {
    value: '<list>',
    help: 'statuses in turn for each message, the last one from then on: 503,503,200',
    read: (value) => whenAll(value.split(',').map(statusOf), (statuses) => ({ statuses })),
  },
  'fail-rate': {
    value: '<share>',
    help: 'this share of the requests is answered with 503: 0.3',
    read: (value) => (/^(0(\.\d+)?|1(\.0+)?)$/.test(value) ? { failRate: Number(value) } : null),
  },
  delay: {
    value: '<duration>',
    help: 'waits before it answers: 2s',
    read: (value) => {
      const delayMs = parseDuration(value);
      // Beyond, setTimeout fires at once.
      return delayMs === null || delayMs > 2 ** 31 - 1 ? null : { delayMs };
    },
  },
  ...Object.fromEntries(
    faults.map((fault) => [fault, { value: null, help: faultWords[fault], read: () => ({ fault }) }]),
  ),
  drip: {
    value: '<rate>',
    help: 'a body that never ends, so many bytes a second: 10B/s',
    read: (value) => {
      const bytesPerSecond = sizeOf(value.replace(/\/s$/, ''));
      return bytesPerSecond === null || bytesPerSecond === 0 ? null : { body: { kind: 'drip', bytesPerSecond } };
    },
  },
  redirect: {
    value: '<url>',
    help: 'answers 308 with this location; `loop`: its own',
    read: (location) => (isHeaderText(location) ? { headers: { location } } : null),
  },
  'redirect-status': {
    value: '<status>',
    help: 'another status for it: 302',
    read: (value) => (/^3\d\d$/.test(value) ? { statuses: [Number(value)] } : null),
  },
  'retry-after': {
    value: '<text>',
    help: 'this Retry-After; date:1h is the HTTP date of an hour later, date:-1h of one ago',
    read: (text) => (isHeaderText(text) ? { headers: { 'retry-after': text } } : null),
  },
  header: {
    value: '<name:value>',
    help: 'a header of the answer',
    read: (text) => {
      const [, name, value = ''] = /^([A-Za-z0-9-]+):[ \t]*(.*)$/.exec(text) ?? [];
      return name !== undefined && isHeaderText(value) ? { headers: { [name.toLowerCase()]: value } } : null;
    },
  },
  body: { value: '<text>', help: 'this body', read: (text) => ({ body: { kind: 'text', text } }) },
  echo: {
    value: null,
    help: 'a body that shows the request, with its headers',
    read: () => ({ body: { kind: 'echo' } }),
  },
  'gzip-bomb': {
    value: null,
    help: 'a compressed body of a few KB that unpacks to 50 MB',
    read: () => ({ body: { kind: 'gzip-bomb' } }),
  },
  'huge-body': {
    value: '<size>',
    help: 'a body as long as this: 1GB',
    read: (value) => {
      const bytes = sizeOf(value);
      return bytes === null ? null : { body: { kind: 'huge', bytes } };
    },
  },
  'invalid-utf8': {
    value: null,
    help: 'a body that is no UTF-8, with a NUL in it',
    read: () => ({ body: { kind: 'invalid-utf8' } }),
  },
  informational: {
    value: '<list>',
    help: 'answers 100, 102 or 103 before the answer: 103',
    read: (value) => (/^10[023](,10[023])*$/.test(value) ? { informational: value.split(',').map(Number) } : null),
  },
};

/** Headers of both; else the second one's say. */
export function combine(behaviour: Behaviour, more: Partial<Behaviour>): Behaviour {
  return { ...behaviour, ...more, headers: { ...behaviour.headers, ...more.headers } };
}

/**
 * What a path asks for, in its leading segments: `/status/503/retry-after/30/whatever`. What is not one of the words ends
 * them, so that a URL of one's own may follow.
 */
export function behaviourOfPath(base: Behaviour, path: string): Behaviour {
  const segments = (path.split('?')[0] ?? '').split('/').slice(1);
  let behaviour = base;
  for (let i = 0; i < segments.length; ) {
    const name = segments[i] ?? '';
    const word = Object.hasOwn(behaviourWords, name) ? behaviourWords[name] : undefined;
    const value = word?.value === null ? '' : decoded(segments[i + 1] ?? '');
    const read = value === null ? null : (word?.read(value) ?? null);
    if (read === null) break;
    behaviour = combine(behaviour, read);
    i += word?.value === null ? 1 : 2;
  }
  return behaviour;
}

function decoded(segment: string): string | null {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}

const sizes: Readonly<Record<string, number>> = { B: 1, KB: 1_000, MB: 1_000_000, GB: 1_000_000_000 };

/** `10B`, `1GB` → bytes. */
function sizeOf(text: string): number | null {
  const [, digits, unit = ''] = /^(\d{1,6})(B|KB|MB|GB)$/.exec(text) ?? [];
  return digits === undefined ? null : Number(digits) * (sizes[unit] ?? 1);
}

/** 1xx are no answers. */
const statusOf = (text: string) => (/^[2-9]\d\d$/.test(text) ? Number(text) : null);

function whenAll<T, U>(values: readonly (T | null)[], then: (values: readonly T[]) => U): U | null {
  const present = values.filter((value): value is T => value !== null);
  return present.length === values.length ? then(present) : null;
}

/** What node:http takes as the value of a header. */
const isHeaderText = (text: string) => /^[\t\x20-\x7e\x80-\xff]*$/.test(text);
