import type { ConfigInput } from '../../src/config/index.ts';
import type { TlsMode } from '../../src/receivers/certificate.ts';

/*
 * The matrix as data: what a receiver does, and what becomes of the delivery. matrix.test.ts runs it, and
 * docs/receivers.md shows it.
 */

type Destination = NonNullable<ConfigInput['destinations']>[string];

export interface HostileCase {
  /** Of its destination and observer. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  /** A path of the receiver, which any user can ask for, too. Or another place, where the path can't say it. */
  readonly path?: string;
  readonly at?: TlsMode | 'refused' | 'blackhole' | 'unknown-host';
  /** The host of a URL that comes from the event, with the port of the receiver. */
  readonly host?: string;
  readonly destination?: Omit<Destination, 'webhook'>;
  /** Extra key for the action: what makes it unrenderable. */
  readonly body?: unknown;
  /** One entry per attempt, as the history has it: its error class, or `delivered` and the status. */
  readonly attempts: readonly string[];
  /** `waiting`: in the queue, to be tried again. Else the reason of its dead letter. */
  readonly end: 'delivered' | 'waiting' | 'exhausted' | 'rejected' | 'engine_fault';
  readonly hold?: 'paused' | 'disabled';
  /** Bytes of the answer that the history keeps, as UTF-8. */
  readonly excerptBytes?: number;
  /** In the message of the last attempt or of the dead letter. */
  readonly says?: string;
}

export interface Chapter {
  readonly title: string;
  readonly cases: readonly HostileCase[];
}

/** Each has two attempts unless it says otherwise, and a deadline only where the receiver hangs. */
const short = { timeout: '300ms' } as const;
/** Where the headers must come within it, on however busy a machine. */
const long = { timeout: '2s' } as const;
const twice = (what: string) => [what, what];

const retried = (status: number): HostileCase => ({
  name: `status-${status}`,
  title: `${status}`,
  path: `/status/${status}`,
  attempts: twice(`http_${status}`),
  end: 'exhausted',
});

const refused = (status: number): HostileCase => ({
  name: `status-${status}`,
  title: `${status}`,
  path: `/status/${status}/body/no`,
  attempts: [`http_${status}`],
  end: 'rejected',
  excerptBytes: 2,
});

const taken = (status: number): HostileCase => ({
  name: `status-${status}`,
  title: `${status}`,
  path: `/status/${status}`,
  attempts: [`delivered ${status}`],
  end: 'delivered',
});

const redirect = (status: number): HostileCase => ({
  ...retried(status),
  title: `${status} to another place`,
  path: `/redirect/${encodeURIComponent('/never')}/redirect-status/${status}`,
  says: 'redirects are not followed',
});

const retryAfter = (name: string, title: string, value: string, pauses: boolean): HostileCase => ({
  name: `retry-after-${name}`,
  title: `429, Retry-After ${title}`,
  path: `/status/429/retry-after/${encodeURIComponent(value)}`,
  attempts: pauses ? ['http_429'] : twice('http_429'),
  end: pauses ? 'waiting' : 'exhausted',
  ...(pauses && { hold: 'paused' }),
});

const address = (host: string, what: string): HostileCase => ({
  name: `${what} ${host}`
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/[^0-9a-z]+/g, '-')
    .replaceAll(/^-|-$/g, ''),
  title: `\`${host}\`: ${what}`,
  host,
  attempts: ['address_refused'],
  end: 'rejected',
});

export const chapters: readonly Chapter[] = [
  {
    title: 'No answer, or not all of it',
    cases: [
      {
        name: 'hang-before-headers',
        title: 'Takes the request and never answers',
        path: '/hang-before-headers',
        destination: short,
        attempts: twice('timeout'),
        end: 'exhausted',
      },
      {
        name: 'hang-after-headers',
        title: 'Sends 200 and headers, then nothing',
        path: '/hang-after-headers',
        destination: long,
        attempts: twice('timeout 200'),
        end: 'exhausted',
      },
      {
        name: 'hang-after-400',
        title: 'Sends 400 and headers, then nothing',
        path: '/status/400/hang-after-headers',
        destination: long,
        attempts: ['http_400'],
        end: 'rejected',
      },
      {
        name: 'drip',
        title: 'Sends a 200 whose body never ends, byte by byte',
        path: '/drip/50B',
        destination: long,
        attempts: twice('timeout 200'),
        end: 'exhausted',
      },
      {
        name: 'slow',
        title: 'Answers later than the deadline',
        path: '/delay/10m',
        destination: short,
        attempts: twice('timeout'),
        end: 'exhausted',
      },
      {
        name: 'reset-mid-request',
        title: 'Resets the connection while it gets the request',
        path: '/reset-mid-request',
        attempts: twice('connection_reset'),
        end: 'exhausted',
      },
      {
        name: 'reset-mid-response',
        title: 'Resets the connection in the middle of a 200',
        path: '/reset-mid-response',
        attempts: twice('connection_reset 200'),
        end: 'exhausted',
      },
      {
        name: 'truncate',
        title: 'Ends a 200 before its body is as long as it said',
        path: '/truncate',
        attempts: twice('connection_reset 200'),
        end: 'exhausted',
        excerptBytes: 8,
      },
      {
        name: 'refused',
        title: 'Nobody listens on the port',
        at: 'refused',
        attempts: twice('connection_refused'),
        end: 'exhausted',
      },
      {
        name: 'blackhole',
        title: 'The address drops every packet',
        at: 'blackhole',
        destination: short,
        attempts: twice('timeout'),
        end: 'exhausted',
      },
      {
        name: 'unknown-host',
        title: 'The host name does not resolve',
        at: 'unknown-host',
        attempts: twice('dns'),
        end: 'exhausted',
      },
    ],
  },
  {
    title: 'TLS',
    cases: [
      {
        name: 'tls-good',
        title: 'A certificate of an authority in `tls.ca`',
        at: 'good',
        attempts: ['delivered 204'],
        end: 'delivered',
      },
      {
        name: 'tls-self-signed',
        title: 'A certificate that signed itself',
        at: 'self-signed',
        attempts: twice('tls'),
        end: 'exhausted',
        says: 'signed by nobody that is trusted',
      },
      {
        name: 'tls-expired',
        title: 'A certificate that has expired',
        at: 'expired',
        attempts: twice('tls'),
        end: 'exhausted',
        says: 'has expired',
      },
      {
        name: 'tls-wrong-host',
        title: 'A certificate for another host',
        at: 'wrong-host',
        attempts: twice('tls'),
        end: 'exhausted',
        says: 'for another host',
      },
      {
        name: 'tls-client-certificate',
        title: 'Demands a client certificate, and we have none',
        at: 'client-certificate',
        attempts: twice('tls'),
        end: 'exhausted',
        says: 'demands a client certificate',
      },
    ],
  },
  {
    title: 'Statuses',
    cases: [
      ...[200, 202, 204].map(taken),
      {
        name: 'informational-103',
        title: '103 and 102 before the answer',
        path: '/informational/103,102/status/200',
        attempts: ['delivered 200'],
        end: 'delivered',
      },
      {
        name: 'informational-100',
        title: '100 that nobody asked for',
        path: '/informational/100/status/200',
        attempts: twice('protocol'),
        end: 'exhausted',
        says: '100 (Continue) without being asked',
      },
      {
        name: 'informational-hang',
        title: '103, and then nothing',
        path: '/informational/103/hang-before-headers',
        destination: short,
        attempts: twice('timeout'),
        end: 'exhausted',
      },
      ...[300, 301, 302, 303, 307, 308].map(redirect),
      { ...retried(304), says: 'redirects are not followed' },
      {
        name: 'redirect-loop',
        title: '308 to itself',
        path: '/redirect/loop',
        attempts: twice('http_308'),
        end: 'exhausted',
      },
      {
        name: 'redirect-private',
        title: '307 to a private address',
        path: `/redirect/${encodeURIComponent('http://169.254.169.254/latest/meta-data/')}/redirect-status/307`,
        attempts: twice('http_307'),
        end: 'exhausted',
      },
      ...[400, 401, 403, 404, 422].map(refused),
      ...[408, 409, 425, 429, 500, 502, 503, 504].map(retried),
      {
        name: 'status-410',
        title: '410',
        path: '/status/410',
        attempts: ['http_410'],
        end: 'waiting',
        hold: 'disabled',
      },
      {
        name: 'asks-disable',
        title: '503 with `webhook-delivery: disable`',
        path: `/status/503/header/${encodeURIComponent('webhook-delivery: disable')}`,
        attempts: ['http_503'],
        end: 'waiting',
        hold: 'disabled',
      },
      {
        name: 'asks-abort',
        title: '503 with `webhook-delivery: abort-message`',
        path: `/status/503/header/${encodeURIComponent('webhook-delivery: abort-message')}`,
        attempts: ['http_503'],
        end: 'rejected',
      },
      {
        name: 'last-attempt',
        title: '503 and 503, then 200 to the last of three attempts',
        path: '/status/503,503,200',
        destination: { retry: { attempts: 3, initial: '1ms', jitter: 'none' } },
        attempts: ['http_503', 'http_503', 'delivered 200'],
        end: 'delivered',
      },
      {
        name: 'outcomes',
        title: '404 with `outcomes: { retry: [404] }`',
        path: '/status/404,200',
        destination: { outcomes: { retry: [404] } },
        attempts: ['http_404', 'delivered 200'],
        end: 'delivered',
      },
    ],
  },
  {
    title: 'Retry-After',
    cases: [
      retryAfter('seconds', '3600', '3600', true),
      retryAfter('fraction', '1800.5', '1800.5', true),
      retryAfter('date', 'the date of an hour later', 'date:1h', true),
      retryAfter('days', '99999999, and more than `retry_after_max`', '99999999', true),
      retryAfter('negative', '-5', '-5', false),
      retryAfter('past', 'a date an hour ago', 'date:-1h', false),
      retryAfter('exponent', '1e30', '1e30', false),
      retryAfter('garbage', '`soon`', 'soon', false),
      retryAfter('empty', 'empty', '', false),
    ],
  },
  {
    title: 'Bodies',
    cases: [
      {
        name: 'body-at-limit',
        title: '2,048 bytes, all that is kept',
        path: `/status/422/body/${'a'.repeat(2048)}`,
        attempts: ['http_422'],
        end: 'rejected',
        excerptBytes: 2048,
      },
      {
        name: 'body-over-limit',
        title: '2,049 bytes',
        path: `/status/422/body/${'a'.repeat(2049)}`,
        attempts: ['http_422'],
        end: 'rejected',
        excerptBytes: 2048,
      },
      {
        name: 'body-cut-character',
        title: 'The limit falls into a UTF-8 character',
        path: `/status/422/body/${encodeURIComponent(`a${'é'.repeat(1024)}`)}`,
        attempts: ['http_422'],
        end: 'rejected',
        excerptBytes: 2047,
      },
      {
        name: 'invalid-utf8',
        title: 'No UTF-8, with a NUL in it',
        path: '/status/422/invalid-utf8',
        attempts: ['http_422'],
        end: 'rejected',
      },
      {
        name: 'gzip-bomb',
        title: '50 MB in a few KB of gzip: never unpacked',
        path: '/status/422/gzip-bomb',
        attempts: ['http_422'],
        end: 'rejected',
      },
      {
        name: 'huge-body',
        title: '1 GB, cut off by us',
        path: '/huge-body/1GB',
        attempts: ['delivered 200'],
        end: 'delivered',
      },
      {
        name: 'echo',
        title: 'Shows our own headers, with the bearer token',
        path: '/status/422/echo',
        attempts: ['http_422'],
        end: 'rejected',
        says: 'answered 422',
      },
    ],
  },
  {
    title: 'Internal addresses in a URL of the event',
    cases: [
      address('127.0.0.1', 'loopback'),
      address('2130706433', 'the same as one number'),
      address('0x7f.1', 'the same in hexadecimal'),
      address('127.1', 'the same, shortened'),
      address('１２７.０.０.１', 'the same in full-width digits'),
      address('[::1]', 'loopback in IPv6'),
      address('[::ffff:127.0.0.1]', 'IPv4 mapped into IPv6'),
      address('[::7f00:1]', 'IPv4-compatible IPv6'),
      address('[64:ff9b::7f00:1]', 'NAT64'),
      address('[2002:7f00:1::]', '6to4'),
      address('0.0.0.0', 'this host'),
      address('10.0.0.1', 'private'),
      address('172.16.0.1', 'private'),
      address('192.168.1.1', 'private'),
      address('100.64.0.1', 'carrier'),
      address('169.254.169.254', 'cloud metadata'),
      address('[fd00:ec2::254]', 'cloud metadata in IPv6, unique local'),
      address('[fe80::1]', 'link-local'),
      address('224.0.0.1', 'multicast'),
      address('198.18.0.1', 'benchmarks'),
      address('192.0.2.1', 'documentation'),
      address('240.0.0.1', 'class E'),
    ],
  },
  {
    title: 'Before anything is sent',
    cases: [
      {
        name: 'unrenderable',
        title: 'A template that fails on this event',
        path: '/status/200/unrenderable',
        body: { total: '${{ payload.n - "text" }}' },
        attempts: ['template'],
        end: 'engine_fault',
        says: 'no such overload',
      },
    ],
  },
];

export const cases: readonly HostileCase[] = chapters.flatMap((chapter) => chapter.cases);
