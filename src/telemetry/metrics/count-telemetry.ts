import type { AttemptFinished, EventsRouted, Telemetry } from '../../domain/telemetry.ts';
import type { Metrics } from './metrics.ts';

/** What is counted of what the stages say. */
export function countTelemetry(metrics: Metrics): Telemetry {
  return (event) => {
    switch (event.type) {
      case 'attempt.finished':
        return countAttempt(metrics, event);
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

function countAttempt(metrics: Metrics, attempt: AttemptFinished): void {
  const { destination, outcome, errorClass, observer, reason } = attempt;
  metrics.count('attempts_total', { destination, outcome });
  metrics.time('attempt_duration_seconds', attempt.durationMs / 1_000, { destination });
  if (errorClass !== null) metrics.count('attempt_failures_total', { destination, error_class: errorClass });
  if (outcome === 'dead') metrics.count('dead_letters_total', { observer, destination, reason: reason ?? '' });
  if (outcome !== 'delivered' || attempt.replay) return;
  // Two clocks: the host's may be behind the database's.
  metrics.time('delivery_age_seconds', Math.max(0, (Date.now() - Date.parse(attempt.event.at)) / 1_000), {
    destination,
  });
}

/** By kind and not by event: a slice of a thousand mostly has one or two. */
function countRouted(metrics: Metrics, { events }: EventsRouted): void {
  const counts = new Map<string, { readonly source: string; readonly operation: string; count: number }>();
  for (const { record, deliveries } of events) {
    const { source, operation } = record;
    const key = `${operation} ${source}`;
    const counted = counts.get(key) ?? { source, operation, count: 0 };
    counted.count += 1;
    counts.set(key, counted);
    for (const { observer, destination } of deliveries) {
      metrics.count('deliveries_queued_total', { observer, destination });
    }
  }
  for (const { source, operation, count } of counts.values()) {
    metrics.count('events_routed_total', { source, operation }, count);
  }
}
