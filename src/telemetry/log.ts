import pino, { type DestinationStream, type Logger } from 'pino';
import type { EventRecord } from '../domain/event.ts';
import { formatSize } from '../domain/size.ts';
import type {
  ActionLogged,
  AttemptFinished,
  BreakerChanged,
  DeliveryBuried,
  Telemetry,
  TelemetryEvent,
} from '../domain/telemetry.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Shorter ones would blot out half of every line, and are no secrets. */
const shortestSecret = 6;

/** Values that never appear in a line, wherever they might have slipped in. Those of former rules stay hidden. */
export class HiddenSecrets {
  readonly #written = new Set<string>();

  add(secrets: readonly string[]): void {
    for (const secret of secrets) {
      if (secret.length >= shortestSecret) this.#written.add(JSON.stringify(secret).slice(1, -1));
    }
  }

  hide(line: string): string {
    let hidden = line;
    for (const secret of this.#written) hidden = hidden.replaceAll(secret, '[secret]');
    return hidden;
  }
}

/** JSON lines, without the secrets. */
export function createLogger(
  level: LogLevel,
  secrets: HiddenSecrets = new HiddenSecrets(),
  stream: DestinationStream = pino.destination({ dest: 1, sync: true }),
): Logger {
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: (line) => secrets.hide(line) },
    },
    stream,
  );
}

/** Writes telemetry to the log: one wide record per attempt, and what an operator must know. */
export function logTelemetry(logger: Logger): Telemetry {
  return (event) => {
    if (event.type === 'attempt.finished') return logAttempt(logger, event);
    if (event.type === 'delivery.buried') return logBurial(logger, event);
    if (event.type === 'action.logged') return logAction(logger, event);
    const entry = entryOf(event);
    if (entry !== null) logger[entry.level]({ event: event.type, ...entry.fields }, entry.message);
  };
}

function logAttempt(logger: Logger, a: AttemptFinished): void {
  const level = a.outcome === 'delivered' ? 'info' : a.outcome === 'retry' ? 'warn' : 'error';
  if (!logger.isLevelEnabled(level)) return;
  const fields = {
    event: a.type,
    outcome: a.outcome,
    event_uid: a.event.uid,
    source: a.event.source,
    operation: a.event.operation,
    key: a.event.key,
    tenant: a.event.tenant,
    observer: a.observer,
    action: a.action,
    destination: a.destination,
    delivery: a.delivery,
    attempt: a.attempt,
    duration_ms: Math.round(a.durationMs * 10) / 10,
    status: a.status,
    reason: a.reason,
    error_class: a.errorClass,
    error: a.message,
    retry_in_ms: a.retryInMs,
    replay: a.replay,
  };
  logger[level](
    withoutNulls(fields),
    `${a.observer}/${a.action} ${a.outcome === 'dead' ? 'is a dead letter' : a.outcome}`,
  );
}

/** As a dead attempt, without what only an attempt has. */
function logBurial(logger: Logger, b: DeliveryBuried): void {
  const fields = {
    event: b.type,
    ...namesOf(b.event),
    observer: b.observer,
    action: b.action,
    destination: b.destination,
    delivery: b.delivery,
    attempts: b.attempts,
    reason: b.reason,
    error: b.message,
    replay: b.replay,
  };
  logger.error(withoutNulls(fields), `${b.observer}/${b.action} is a dead letter: ${b.message}`);
}

const namesOf = (event: EventRecord | null) => ({
  event_uid: event?.uid ?? null,
  source: event?.source ?? null,
  operation: event?.operation ?? null,
  key: event?.key ?? null,
  tenant: event?.tenant ?? null,
});

/** In the words of the rules; `fields` apart, so that none passes for one of ours. */
function logAction(
  logger: Logger,
  { level, message, fields, event, observer, action, destination }: ActionLogged,
): void {
  const from = {
    event: 'action.logged',
    ...namesOf(event),
    observer,
    action,
    destination,
    fields,
  };
  logger[level](withoutNulls(from), message);
}

interface Entry {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields?: Record<string, unknown>;
}

function entryOf(event: TelemetryEvent): Entry | null {
  switch (event.type) {
    case 'engine.started':
      return info(`observing ${count(event.sources, 'source')} with ${count(event.observers, 'observer')}`, {
        took_ms: Math.round(event.tookMs),
      });
    case 'engine.stopping':
      return info(`stopping: ${event.reason}`);
    case 'engine.stopped':
      return info('stopped; nothing is in flight');
    case 'rules.loaded':
      return info(`rules loaded: ${count(event.observers, 'observer')}`, { rules_version: event.version });
    case 'rules.refused':
      return { level: 'error', message: `the new rules are refused, the old ones keep running:\n${event.message}` };
    case 'database.unreachable':
      return warn(`the database is away, waiting for it: ${event.message}`, { stage: event.stage });
    case 'database.reached':
      return info('the database is back', { stage: event.stage, after_ms: event.afterMs });
    case 'stage.failed':
      return {
        level: 'error',
        message: `${event.stage} failed and tries again`,
        fields: { stage: event.stage, err: event.error },
      };
    case 'listener.connected':
      return { level: 'debug', message: 'listening' };
    case 'listener.disconnected':
      return warn(`the LISTEN connection is lost, polling meanwhile: ${event.message}`);
    case 'listener.deaf':
      return warn(
        'notifications do not arrive (a pooler in transaction mode?): polling only; give `direct_database:` a URL that leads to the server itself',
      );
    case 'routing.acquired':
      return info('this instance routes');
    case 'routing.lost':
      return info(`this instance no longer routes: ${event.reason}`);
    case 'channel.acquired':
      return info(`this instance records the channel ${event.channel}`, { channel: event.channel });
    case 'channel.lost':
      return info(`this instance no longer records the channel ${event.channel}: ${event.reason}`, {
        channel: event.channel,
      });
    case 'capture.lost':
      return {
        level: 'error',
        message: `${event.count} notifications of the channel ${event.channel} are lost: they could not be recorded in time, and memory holds no more`,
        fields: { channel: event.channel, count: event.count },
      };
    case 'instance.evicted':
      return warn(`${event.sessions} sessions of a silent instance were ended; what it did is free`);
    case 'capture.drift':
      return warn(`triggers differ from the file; run \`pg-observers apply\`: ${event.steps.join('; ')}`);
    case 'decide.fault':
      return {
        level: 'error',
        message: `the condition of ${event.observer} can't be evaluated; the event is a dead letter: ${event.message}`,
        fields: { observer: event.observer, event_uid: event.event.uid, source: event.event.source },
      };
    case 'settlement.refused':
      return {
        level: 'error',
        message: `an outcome could not be stored as it is; delivery ${event.delivery} stays in the queue until it is`,
        fields: { delivery: event.delivery, outcome: event.outcome, err: event.error },
      };
    case 'delivery.released':
      return { level: 'debug', message: `${event.count} claims handed back: ${event.reason}` };
    case 'delivery.fenced':
      return warn(`${event.count} outcomes came too late: other instances had taken the deliveries over`);
    case 'delivery.rescued':
      return warn(`${event.count} deliveries of a silent instance were taken over`);
    case 'delivery.orphaned':
      return {
        level: 'error',
        message: `${deliveries(event.count)} of ${event.observer}/${event.action} went to the dead letters: no rule names the destination ${event.destination} any more`,
        fields: {
          observer: event.observer,
          action: event.action,
          destination: event.destination,
          reason: event.reason,
          count: event.count,
        },
      };
    case 'quota.exceeded':
      return warn(
        `${deliveries(event.deliveries)} of tenant ${event.tenant} went to the dead letters: ${event.most} wait already, and it may have no more`,
        { tenant: event.tenant, deliveries: event.deliveries, max_pending: event.most },
      );
    case 'breaker.changed':
      return breakerEntry(event);
    case 'destination.disabled':
      return warn(
        `${event.destination} is disabled by ${event.by === 'person' ? 'a person' : 'its receiver'}${event.reason === null ? '' : `: ${event.reason}`}; what is queued for it waits for \`pg-observers destinations enable\``,
        { destination: event.destination, by: event.by, reason: event.reason },
      );
    case 'destination.enabled':
      return info(`${event.destination} is enabled`, { destination: event.destination });
    case 'destination.paused':
      return info(`${event.destination} is paused for ${event.forMs} ms: its receiver asked for it`, {
        destination: event.destination,
        for_ms: event.forMs,
      });
    case 'instance.suspended':
      return warn(`this process was silent for ${event.silentMs} ms; its claims are given up`);
    case 'retention.dropped':
      return info(`retention dropped ${event.partition}`);
    case 'retention.archived':
      return info(`retention archived ${event.partition}: ${count(event.rows, 'row')}`, {
        file: event.file,
        rows: event.rows,
        bytes: event.bytes,
      });
    case 'queue.rebuilt':
      return info(
        `indexes of the queue were rebuilt: ${formatSize(event.bytesBefore)} before, ${formatSize(event.bytesAfter)} now`,
        { indexes: event.indexes, took_ms: Math.round(event.tookMs) },
      );
    case 'retention.hindered':
      return warn(`retention: ${event.complaints.join('; ')}`);
    default:
      return null;
  }
}

function breakerEntry({ destination, tenant, state, openForMs }: BreakerChanged): Entry {
  const whose = tenant === null ? destination : `${destination} for tenant ${tenant}`;
  const fields = {
    destination,
    state,
    ...(tenant !== null && { tenant }),
    ...(openForMs !== null && { open_for_ms: openForMs }),
  };
  const message = `the circuit breaker of ${whose} is ${state}`;
  return state === 'closed' ? info(message, fields) : warn(message, fields);
}

const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
const deliveries = (n: number) => (n === 1 ? '1 delivery' : `${n} deliveries`);
const info = (message: string, fields: Record<string, unknown> = {}): Entry => ({ level: 'info', message, fields });
const warn = (message: string, fields: Record<string, unknown> = {}): Entry => ({ level: 'warn', message, fields });

function withoutNulls(fields: Record<string, unknown>): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const name in fields) if (fields[name] !== null && fields[name] !== false) kept[name] = fields[name];
  return kept;
}
