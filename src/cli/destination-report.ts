import { redactUrl } from '../actions/redaction.ts';
import { withoutCredentials } from '../config/fingerprint.ts';
import { formatDuration } from '../config/units.ts';
import { formatPattern } from '../domain/outcome-pattern.ts';
import { verdicts } from '../domain/outcome-policy.ts';
import type { RetryPolicy } from '../domain/retry.ts';
import type { Config, Destination } from '../domain/rules.ts';
import type { OpenBreaker } from '../transport/postgres/destination-figures.ts';
import type { HeldDestination } from '../transport/postgres/destination-holds.ts';
import type { QueueStatus } from '../transport/postgres/status.ts';

/** One destination, as `destinations list --json` prints it. */
export interface DestinationReport {
  readonly name: string;
  /** null: not in the file. */
  readonly kind: string | null;
  /** Without secrets. */
  readonly address: string | null;
  readonly state: 'enabled' | 'disabled' | 'paused';
  readonly disabled_at: string | null;
  readonly disabled_by: string | null;
  readonly reason: string | null;
  readonly paused_until: string | null;
  /** Queued, in whatever state. */
  readonly pending: number;
  readonly retrying: number;
  /** The numbers come from a sample of a long queue. */
  readonly estimated: boolean;
  readonly oldest_due_at: string | null;
  readonly limits: Limits | null;
  /** Circuit breakers of the instances that are not closed. */
  readonly breakers: readonly Omit<OpenBreaker, 'destination'>[];
}

export interface Limits {
  readonly timeout_ms: number;
  readonly concurrency: number;
  /** `100/s`. */
  readonly rate_limit: string | null;
  readonly retry: {
    readonly attempts: number;
    readonly initial_ms: number | null;
    readonly factor: number | null;
    readonly max_ms: number | null;
    readonly jitter: string;
    readonly schedule_ms: readonly number[] | null;
    readonly max_age_ms: number | null;
  };
  readonly retry_after_max_ms: number;
  readonly circuit_breaker: {
    readonly failure_rate: number;
    readonly minimum: number;
    readonly window_ms: number;
    readonly open_for_ms: number;
    readonly open_for_max_ms: number;
    readonly successes: number;
    readonly per: 'destination' | 'tenant';
  } | null;
}

export interface Facts {
  readonly config: Config | null;
  readonly held: readonly HeldDestination[];
  readonly queue: readonly QueueStatus[];
  readonly oldestDue: ReadonlyMap<string, string>;
  readonly breakers: readonly OpenBreaker[];
}

/** Every name that the file, the queue or the table knows: what left the file is still there until somebody looks after it. */
export function knownDestinations({ config, held, queue }: Omit<Facts, 'oldestDue' | 'breakers'>): string[] {
  const names = [
    ...(config?.destinations.keys() ?? []),
    ...held.map((row) => row.destination),
    ...queue.map((row) => row.destination),
  ];
  return [...new Set(names)];
}

export function reportOf(name: string, { config, held, queue, oldestDue, breakers }: Facts): DestinationReport {
  const destination = config?.destinations.get(name) ?? null;
  const hold = held.find((row) => row.destination === name);
  const waiting = queue.find((row) => row.destination === name);
  const sum = (row: QueueStatus) =>
    Number(row.ready) + Number(row.claimed) + Number(row.retrying) + Number(row.blocked);
  return {
    name,
    kind: destination?.kind ?? null,
    address: destination === null ? null : addressOf(destination),
    state: hold?.state ?? 'enabled',
    disabled_at: hold?.disabled_at ?? null,
    disabled_by: hold?.disabled_by ?? null,
    reason: hold?.reason ?? null,
    paused_until: hold?.paused_until ?? null,
    pending: waiting === undefined ? 0 : sum(waiting),
    retrying: Number(waiting?.retrying ?? 0),
    estimated: waiting?.estimated ?? false,
    oldest_due_at: oldestDue.get(name) ?? null,
    limits: destination === null ? null : limitsOf(destination),
    breakers: breakers.flatMap(({ destination: of, ...breaker }) => (of === name ? [breaker] : [])),
  };
}

/** Where it leads, without what lets one in. */
function addressOf(destination: Destination): string | null {
  switch (destination.kind) {
    case 'webhook':
      // One with parts that come from events need not be a URL as it stands.
      return destination.urlTemplate === null
        ? redactUrl(new URL(destination.url))
        : withoutCredentials(destination.url);
    case 'email': {
      const { protocol, host } = new URL(destination.smtp);
      return `${protocol}//${host}`;
    }
    case 'slack':
      // Of an incoming webhook the path is the secret.
      return destination.auth.kind === 'incoming'
        ? `${new URL(destination.auth.webhookUrl).origin} (incoming webhook)`
        : (destination.auth.apiUrl ?? 'https://slack.com/api/');
    default:
      return null;
  }
}

function limitsOf({ timeoutMs, concurrency, rateLimit, retry, retryAfterMaxMs, circuitBreaker }: Destination): Limits {
  const grows = retry.schedule === null;
  return {
    timeout_ms: timeoutMs,
    concurrency,
    rate_limit:
      rateLimit === null ? null : `${rateLimit.count}/${rateUnits[rateLimit.perMs] ?? `${rateLimit.perMs}ms`}`,
    retry: {
      attempts: retry.attempts,
      initial_ms: grows ? retry.initialMs : null,
      factor: grows ? retry.factor : null,
      max_ms: grows ? retry.maxMs : null,
      jitter: retry.jitter,
      schedule_ms: retry.schedule,
      max_age_ms: retry.maxAgeMs,
    },
    retry_after_max_ms: retryAfterMaxMs,
    circuit_breaker:
      circuitBreaker === null
        ? null
        : {
            failure_rate: circuitBreaker.failureRate,
            minimum: circuitBreaker.minimum,
            window_ms: circuitBreaker.windowMs,
            open_for_ms: circuitBreaker.openForMs,
            open_for_max_ms: circuitBreaker.openForMaxMs,
            successes: circuitBreaker.successes,
            per: circuitBreaker.per,
          },
  };
}

const rateUnits: Readonly<Record<number, string>> = { 1000: 's', 60000: 'm', 3600000: 'h' };

/** `8 attempts, 1s × 2 up to 5m, full jitter`. */
export function retryInWords({ attempts, initialMs, factor, maxMs, jitter, schedule, maxAgeMs }: RetryPolicy): string {
  const delays =
    schedule === null
      ? `${formatDuration(initialMs)} × ${factor} up to ${formatDuration(maxMs)}`
      : `after ${schedule.map(formatDuration).join(', ')}`;
  const age = maxAgeMs === null ? '' : `, for ${formatDuration(maxAgeMs)} at most`;
  return `${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}, ${delays}, ${jitter === 'full' ? 'full' : 'no'} jitter${age}`;
}

/** The rules that decide, by verdict: what a later rule replaces is left out. */
export function outcomesOf({ outcomes }: Destination): Readonly<Record<string, readonly string[]>> {
  const verdictOf = new Map(outcomes.rules.map(({ pattern, verdict }) => [formatPattern(pattern), verdict]));
  return Object.fromEntries(
    verdicts.map((verdict) => [verdict, [...verdictOf].flatMap(([text, one]) => (one === verdict ? [text] : []))]),
  );
}
