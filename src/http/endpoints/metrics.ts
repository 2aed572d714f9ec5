import type { DestinationStatus, Engine, EngineStatus } from '../../engine.ts';
import type { MetricName } from '../../telemetry/metrics/definitions.ts';
import type { Metrics } from '../../telemetry/metrics/metrics.ts';
import { programVersion } from '../../transport/postgres/program-version.ts';

/** Several scrapers, or an impatient one, ask the database no more often. */
const keptMs = 2_000;

const breakerStates: Readonly<Record<DestinationStatus['breaker'], number>> = { closed: 0, 'half-open': 1, open: 2 };
const states: Readonly<Record<DestinationStatus['state'], number>> = { enabled: 0, paused: 1, disabled: 2 };
const shownTenants = 20;
const outcomes = ['delivered', 'retry', 'dead'] as const;

/** What comes from the tables: not shown at all while the database is away, rather than as it was. */
const fromTables: readonly MetricName[] = [
  'routing_lag_events',
  'routing_lag_seconds',
  'checkpoint_age_seconds',
  'queue_deliveries',
  'queue_tenant_deliveries',
  'queue_oldest_seconds',
  'dead_letters',
  'held_lanes',
  'instances',
];

export class MetricsPage {
  readonly #engine: Engine;
  readonly #metrics: Metrics;
  #shown: { readonly at: number; readonly text: Promise<string> } | null = null;

  constructor(engine: Engine, metrics: Metrics) {
    this.#engine = engine;
    this.#metrics = metrics;
  }

  get contentType(): string {
    return this.#metrics.contentType;
  }

  /** Never rejects because the database is away. */
  text(): Promise<string> {
    const now = performance.now();
    if (this.#shown === null || now - this.#shown.at > keptMs) this.#shown = { at: now, text: this.#measure() };
    return this.#shown.text;
  }

  async #measure(): Promise<string> {
    const [status, tenants, { ready }, lagSeconds] = await Promise.all([
      this.#engine.status().catch(() => null),
      this.#engine.pendingTenants(shownTenants).catch(() => []),
      this.#engine.readiness(),
      eventLoopLag(),
    ]);
    this.#metrics.set('ready', ready ? 1 : 0);
    this.#metrics.set('database_up', status === null ? 0 : 1);
    this.#showProcess(lagSeconds);
    this.#metrics.clear(...fromTables);
    if (status !== null) this.#showTables(status);
    for (const { tenant, pending } of tenants) this.#metrics.set('queue_tenant_deliveries', pending, { tenant });
    this.#showLanes();
    return this.#metrics.text();
  }

  #showProcess(lagSeconds: number): void {
    const metrics = this.#metrics;
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = process.memoryUsage();
    metrics.setTotal('process_cpu_seconds_total', (user + system) / 1e6);
    metrics.set('process_resident_memory_bytes', rss);
    metrics.set('process_heap_used_bytes', heapUsed);
    metrics.set('process_start_time_seconds', performance.timeOrigin / 1_000);
    metrics.set('event_loop_lag_seconds', lagSeconds);
    metrics.set('build_info', 1, { version: programVersion });
    metrics.clear('rules_info');
    metrics.set('rules_info', 1, { version: this.#engine.config.version });
    metrics.set('capture_drift', this.#engine.drift.length);
    metrics.set('routing', this.#engine.routing ? 1 : 0);
  }

  #showTables({ checkpoint, queue, dead_letters, held_lanes, instances }: EngineStatus): void {
    const metrics = this.#metrics;
    if (checkpoint.captured !== null) metrics.setTotal('events_captured_total', checkpoint.captured);
    metrics.set('routing_lag_events', checkpoint.lag_events);
    metrics.set('routing_lag_seconds', (checkpoint.lag_ms ?? 0) / 1_000);
    metrics.set('checkpoint_age_seconds', checkpoint.age_ms / 1_000);
    for (const { destination, ready, claimed, retrying, blocked, oldest_ms: oldestMs } of queue) {
      for (const [state, count] of Object.entries({ ready, claimed, retrying, blocked })) {
        metrics.set('queue_deliveries', count, { destination, state });
      }
      metrics.set('queue_oldest_seconds', oldestMs / 1_000, { destination });
    }
    metrics.set('dead_letters', dead_letters);
    metrics.set('held_lanes', held_lanes.length);
    const timeoutMs = this.#engine.config.settings.instanceTimeoutMs;
    const silent = instances.filter(({ silent_ms: silentMs }) => silentMs > timeoutMs).length;
    metrics.set('instances', instances.length - silent, { state: 'alive' });
    metrics.set('instances', silent, { state: 'silent' });
  }

  /** Those of which nothing is queued, too: an alert on what is absent is hard to write. */
  #showLanes(): void {
    const metrics = this.#metrics;
    metrics.clear('in_flight', 'breaker_state', 'destination_state');
    for (const { name: destination, in_flight: inFlight, breaker, state } of this.#engine.destinations()) {
      metrics.set('in_flight', inFlight, { destination });
      metrics.set('destination_state', states[state], { destination });
      metrics.set('breaker_state', breakerStates[breaker], { destination });
      // So that the first one counts as an increase.
      for (const outcome of outcomes) metrics.count('attempts_total', { destination, outcome }, 0);
    }
  }
}

/** How late a timer of 0 ms is. */
function eventLoopLag(): Promise<number> {
  const began = performance.now();
  return new Promise((resolve) => setImmediate(() => resolve((performance.now() - began) / 1_000)));
}
