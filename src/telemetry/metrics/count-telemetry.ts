import type { AttemptFinished, EventsRouted, Telemetry } from '../../domain/telemetry.ts';
import type { Metrics } from './metrics.ts';

/** What is counted of what the stages say. */
export function countTelemetry(metrics: Metrics): Telemetry {
  const destinations = new Map<string, DestinationSeries>();
  return (event) => {
    switch (event.type) {
      case 'attempt.finished': {
        let series = destinations.get(event.destination);
        if (series === undefined) {
          series = seriesOf(metrics, event.destination);
          destinations.set(event.destination, series);
        }
        return countAttempt(metrics, series, event);
      }
      case 'delivery.buried':
        return countDead(metrics, event);
      case 'delivery.orphaned':
        return countDead(metrics, event, event.count);
      case 'events.routed':
        return countRouted(metrics, event);
      case 'decide.fault':
        return metrics.count('condition_faults_total', { observer: event.observer });
      case 'capture.notification':
        return metrics.count('notifications_recorded_total', { source: event.source });
      case 'capture.lost':
        return metrics.count('notifications_lost_total', { channel: event.channel }, event.count);
      case 'routing.acquired':
        return metrics.count('router_changes_total', { state: 'acquired' });
      case 'routing.lost':
        return metrics.count('router_changes_total', { state: 'lost' });
      case 'listener.connected':
        return metrics.count('listener_connects_total');
      case 'listener.disconnected':
        return metrics.count('listener_disconnects_total');
      case 'breaker.changed':
        return metrics.count('breaker_changes_total', { destination: event.destination, state: event.state });
      case 'destination.paused':
        return metrics.count('destination_pauses_total', { destination: event.destination });
      case 'quota.exceeded':
        return metrics.count('over_quota_total', { tenant: event.tenant }, event.deliveries);
      case 'settlement.refused':
        return metrics.count('settlements_refused_total');
      case 'delivery.fenced':
        return metrics.count('outcomes_fenced_total', {}, event.count);
      case 'delivery.rescued':
        return metrics.count('deliveries_rescued_total', {}, event.count);
      case 'instance.suspended':
        return metrics.count('instance_suspensions_total');
      case 'retention.dropped':
        return metrics.count('partitions_dropped_total');
      case 'database.unreachable':
        return metrics.count('database_outages_total', { stage: event.stage });
      case 'stage.failed':
        return metrics.count('stage_failures_total', { stage: event.stage });
      case 'rules.refused':
        return metrics.count('rules_refused_total');
      default:
        return;
    }
  };
}

/** What is counted of every attempt at one destination: looking a series up by its labels takes longer than counting. */
interface DestinationSeries {
  readonly attempts: Readonly<Record<AttemptFinished['outcome'], () => void>>;
  readonly duration: (seconds: number) => void;
  readonly age: (seconds: number) => void;
}

function seriesOf(metrics: Metrics, destination: string): DestinationSeries {
  const attempts = (outcome: string) => metrics.counter('attempts_total', { destination, outcome });
  return {
    attempts: { delivered: attempts('delivered'), retry: attempts('retry'), dead: attempts('dead') },
    duration: metrics.timer('attempt_duration_seconds', { destination }),
    age: metrics.timer('delivery_age_seconds', { destination }),
  };
}

function countAttempt(metrics: Metrics, series: DestinationSeries, attempt: AttemptFinished): void {
  const { destination, outcome, errorClass } = attempt;
  series.attempts[outcome]();
  series.duration(attempt.durationMs / 1_000);
  if (errorClass !== null) metrics.count('attempt_failures_total', { destination, error_class: errorClass });
  if (outcome === 'dead') countDead(metrics, attempt);
  if (outcome !== 'delivered' || attempt.replay) return;
  // Two clocks: the host's may be behind the database's.
  series.age(Math.max(0, (Date.now() - Date.parse(attempt.event.at)) / 1_000));
}

type Dead = Pick<AttemptFinished, 'observer' | 'destination' | 'reason'>;

function countDead(metrics: Metrics, { observer, destination, reason }: Dead, count = 1): void {
  metrics.count('dead_letters_total', { observer, destination, reason: reason ?? '' }, count);
}

/** By kind and not by event: a slice of a thousand mostly has one or two. */
function countRouted(metrics: Metrics, { events }: EventsRouted): void {
  const routed = new Tally();
  const queued = new Tally();
  for (const { record, deliveries } of events) {
    routed.add(record.source, record.operation);
    for (const { observer, destination } of deliveries) queued.add(observer, destination);
  }
  for (const [source, operation, count] of routed) metrics.count('events_routed_total', { source, operation }, count);
  for (const [observer, destination, count] of queued) {
    metrics.count('deliveries_queued_total', { observer, destination }, count);
  }
}

/** Counts pairs of names. */
class Tally {
  readonly #counts = new Map<string, Map<string, number>>();

  add(first: string, second: string): void {
    const counts = this.#counts.get(first);
    if (counts === undefined) this.#counts.set(first, new Map([[second, 1]]));
    else counts.set(second, (counts.get(second) ?? 0) + 1);
  }

  *[Symbol.iterator](): Generator<readonly [first: string, second: string, count: number]> {
    for (const [first, counts] of this.#counts) for (const [second, count] of counts) yield [first, second, count];
  }
}
