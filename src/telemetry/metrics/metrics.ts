import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Telemetry } from '../../domain/telemetry.ts';
import { countTelemetry } from './count-telemetry.ts';
import { type LabelName, type MetricDefinition, type MetricName, metricDefinitions, prefix } from './definitions.ts';

export type Labels = Readonly<Partial<Record<LabelName, string>>>;

/**
 * Of one label: beyond that many values the others are counted together. Labels name what the file names, so this is reached
 * only with thousands of rules, where a series each would cost Prometheus more than it tells.
 */
const mostValues = 500;
const others = '(others)';

/** The metrics of one process. Counters follow telemetry; gauges are set at each scrape (http/endpoints/metrics.ts). */
export class Metrics {
  readonly #registry = new Registry();
  readonly #metrics = new Map<MetricName, Counter | Gauge | Histogram>();
  readonly #values = new Map<LabelName, Set<string>>();
  readonly contentType: string = this.#registry.contentType;
  /** Subscribe this to an engine. */
  readonly observe: Telemetry = countTelemetry(this);

  constructor() {
    for (const [name, definition] of Object.entries(metricDefinitions)) {
      this.#metrics.set(name as MetricName, metricOf(name, definition, this.#registry));
    }
  }

  count(name: MetricName, labels: Labels = {}, by = 1): void {
    this.#of(name, Counter).inc(this.#bounded(labels), by);
  }

  set(name: MetricName, value: number, labels: Labels = {}): void {
    this.#of(name, Gauge).set(this.#bounded(labels), value);
  }

  /** One series of a counter, looked up once. */
  counter(name: MetricName, labels: Labels): () => void {
    const child = this.#of(name, Counter).labels(this.#bounded(labels));
    return () => child.inc();
  }

  /** One series of a histogram, looked up once; takes seconds, never negative. */
  timer(name: MetricName, labels: Labels): (seconds: number) => void {
    return this.#of(name, Histogram).labels(this.#bounded(labels)).observe;
  }

  /** For a counter that somebody else keeps. */
  setTotal(name: MetricName, total: number): void {
    const counter = this.#of(name, Counter);
    counter.reset();
    counter.inc(total);
  }

  /** Forgets all series, so that what is gone (an emptied queue, say) is not shown for ever. */
  clear(...names: readonly MetricName[]): void {
    for (const name of names) {
      const gauge = this.#of(name, Gauge);
      gauge.reset();
      // Its tenants are others each time; they would fill what is counted apart.
      if (name === 'queue_tenant_deliveries') this.#values.delete('tenant');
      // `reset` leaves one without labels at 0, which says something.
      if (labelsOf(name).length === 0) gauge.remove();
    }
  }

  /** In the text format of Prometheus. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #of<T extends Counter | Gauge | Histogram>(name: MetricName, kind: new (...args: never[]) => T): T {
    const metric = this.#metrics.get(name);
    if (!(metric instanceof kind)) throw new TypeError(`${name} is no ${kind.name}`);
    return metric;
  }

  #bounded(labels: Labels): Labels {
    for (const name in labels) {
      if (!this.#fits(name as LabelName, labels[name as LabelName] ?? '')) return this.#withOthers(labels);
    }
    return labels;
  }

  #fits(name: LabelName, value: string): boolean {
    const values = this.#values.get(name);
    if (values === undefined) this.#values.set(name, new Set([value]));
    else if (!values.has(value)) {
      if (values.size >= mostValues) return false;
      values.add(value);
    }
    return true;
  }

  #withOthers(labels: Labels): Labels {
    const bounded: Partial<Record<LabelName, string>> = {};
    for (const [name, value] of Object.entries(labels) as [LabelName, string][]) {
      bounded[name] = this.#fits(name, value) ? value : others;
    }
    return bounded;
  }
}

const labelsOf = (name: MetricName): readonly LabelName[] => (metricDefinitions[name] as MetricDefinition).labels ?? [];

function metricOf(name: string, definition: MetricDefinition, registry: Registry): Counter | Gauge | Histogram {
  const { type, help, labels = [], buckets = [] } = definition;
  const options = { name: `${prefix}${name}`, help, labelNames: [...labels], registers: [registry] };
  switch (type) {
    case 'counter':
      return new Counter(options);
    case 'gauge':
      return new Gauge(options);
    case 'histogram':
      return new Histogram({ ...options, buckets: [...buckets] });
  }
}
