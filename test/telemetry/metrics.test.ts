import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import type { TelemetryEvent } from '../../src/domain/telemetry.ts';
import {
  type MetricDefinition,
  type MetricName,
  metricDefinitions,
  prefix,
} from '../../src/telemetry/metrics/definitions.ts';
import { Metrics } from '../../src/telemetry/metrics/metrics.ts';
import { promtool } from './promtool.ts';

const definitions = new Map<string, MetricDefinition>(Object.entries(metricDefinitions));
const root = new URL('../..', import.meta.url);
const read = (path: string) => readFile(new URL(path, root), 'utf8');

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

async function dashboardExpressions(): Promise<string[]> {
  const { panels } = JSON.parse(await read('deploy/grafana/pg-observers.json')) as { panels: Panel[] };
  return panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
}

async function alertExpressions(): Promise<string[]> {
  const { groups } = parse(await read('deploy/prometheus/pg-observers.rules.yaml')) as {
    groups: { rules: { expr: string }[] }[];
  };
  return groups.flatMap(({ rules }) => rules.map(({ expr }) => expr));
}

/** The definition behind a series, which may be a part of a histogram. */
function definitionOf(series: string): MetricDefinition | undefined {
  const name = series.slice(prefix.length);
  return definitions.get(name) ?? definitions.get(name.replace(/_(bucket|sum|count)$/, ''));
}

const labelsIn = (expression: string): string[] => [
  ...[...expression.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => (list ?? '').split(/,\s*/)),
  ...[...expression.matchAll(/[{,]\s*(\w+)\s*(?:=~|!=|!~|=)/g)].map(([, label]) => label ?? ''),
];

describe.each([
  ['the dashboard', dashboardExpressions],
  ['the alerts', alertExpressions],
])('%s', (_, expressions) => {
  test('name nothing but metrics and labels that there are', async () => {
    const all = await expressions();
    expect(all.length).toBeGreaterThan(10);
    for (const expression of all) {
      const series = expression.match(/pg_observers_\w+/g) ?? [];
      expect(series, expression).not.toEqual([]);
      const known = series.flatMap((name) => definitionOf(name)?.labels ?? []);
      for (const name of series) expect(definitionOf(name), name).toBeDefined();
      for (const label of labelsIn(expression)) expect([...known, 'instance', 'le'], expression).toContain(label);
    }
  });
});

test('docs/metrics.md says of each metric what the code says', async () => {
  const rows = [...(await read('docs/metrics.md')).matchAll(/^\| `(pg_observers_\w+)` \|(.*)\|$/gm)].map(
    ([, name, rest]) => [name, ...(rest ?? '').split('|').map((cell) => cell.trim())],
  );
  const wanted = [...definitions].map(([name, { type, labels = [], help }]) => [
    `${prefix}${name}`,
    type,
    labels.map((label) => `\`${label}\``).join(', '),
    unitOf(name),
    help,
  ]);
  expect(rows).toEqual(wanted);
});

function unitOf(name: string): string {
  return /_(seconds|bytes)(_total)?$/.exec(name)?.[1] ?? '';
}

test.skipIf(promtool === null)('promtool accepts the alerts, and they fire when they should', async () => {
  const folder = new URL('deploy/prometheus/', root).pathname;
  expect(await promtool?.(['check', 'rules', join(folder, 'pg-observers.rules.yaml')])).toContain('SUCCESS');
  expect(await promtool?.(['test', 'rules', join(folder, 'pg-observers.test.yaml')])).toContain('SUCCESS');
});

test.skipIf(promtool === null)('promtool can parse every expression of the dashboard', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pg-observers-dashboard-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const rules = (await dashboardExpressions()).map((expr, i) => ({
    record: `panel:${i}`,
    expr: expr.replaceAll('$__rate_interval', '5m').replaceAll('$destination', '.*'),
  }));
  await writeFile(join(folder, 'rules.yaml'), JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
  expect(await promtool?.(['check', 'rules', join(folder, 'rules.yaml')])).toContain('SUCCESS');
});

const event = {
  id: '1',
  uid: '0',
  source: 'orders',
  operation: 'update',
  schema: 'public',
  table: 'orders',
  key: '1',
  tenant: null,
  old: null,
  new: null,
  payload: null,
  context: null,
  at: new Date(Date.now() - 2_000).toISOString(),
} as const;

const attempt = {
  type: 'attempt.finished',
  delivery: '1',
  event,
  observer: 'paid',
  action: 'webhook-1',
  destination: 'billing',
  attempt: 1,
  durationMs: 30,
  outcome: 'delivered',
  reason: null,
  status: 200,
  errorClass: null,
  message: null,
  retryInMs: null,
  replay: false,
} as const satisfies TelemetryEvent;

/** The series of a metric as `labels value`. */
async function seriesOf(metrics: Metrics, name: string): Promise<string[]> {
  const lines = (await metrics.text()).split('\n');
  return lines.filter((line) => new RegExp(`^pg_observers_${name}[{ ]`).test(line)).map((line) => line.slice(13));
}

test('attempts are counted by what became of them', async () => {
  const metrics = new Metrics();
  metrics.observe(attempt);
  metrics.observe({ ...attempt, outcome: 'retry', errorClass: 'timeout' });
  metrics.observe({ ...attempt, outcome: 'dead', errorClass: 'http_400', reason: 'rejected' });
  expect(await seriesOf(metrics, 'attempts_total')).toEqual([
    'attempts_total{destination="billing",outcome="delivered"} 1',
    'attempts_total{destination="billing",outcome="retry"} 1',
    'attempts_total{destination="billing",outcome="dead"} 1',
  ]);
  expect(await seriesOf(metrics, 'attempt_failures_total')).toEqual([
    'attempt_failures_total{destination="billing",error_class="timeout"} 1',
    'attempt_failures_total{destination="billing",error_class="http_400"} 1',
  ]);
  expect(await seriesOf(metrics, 'dead_letters_total')).toEqual([
    'dead_letters_total{observer="paid",destination="billing",reason="rejected"} 1',
  ]);
  expect(await seriesOf(metrics, 'attempt_duration_seconds_count')).toEqual([
    'attempt_duration_seconds_count{destination="billing"} 3',
  ]);
  const [age] = await seriesOf(metrics, 'delivery_age_seconds_sum');
  expect(Number(age?.split(' ')[1])).toBeGreaterThanOrEqual(2);
});

test('what is buried without an attempt is a dead letter, and no attempt', async () => {
  const metrics = new Metrics();
  const { delivery, observer, action, destination, replay } = attempt;
  const reason = 'rule_removed';
  const buried = {
    delivery,
    event,
    observer,
    action,
    destination,
    reason,
    message: 'gone',
    attempts: 0,
    replay,
  } as const;
  metrics.observe({ type: 'delivery.buried', ...buried });
  metrics.observe({ type: 'delivery.buried', ...buried, event: null });
  metrics.observe({ type: 'delivery.orphaned', observer, action, destination, reason, count: 40 });
  expect(await seriesOf(metrics, 'dead_letters_total')).toEqual([
    'dead_letters_total{observer="paid",destination="billing",reason="rule_removed"} 42',
  ]);
  expect(await seriesOf(metrics, 'attempts_total')).toEqual([]);
});

test('a clock behind the database shows as no age, not as a negative one', async () => {
  const metrics = new Metrics();
  metrics.observe({ ...attempt, event: { ...event, at: new Date(Date.now() + 60_000).toISOString() } });
  expect(await seriesOf(metrics, 'delivery_age_seconds_sum')).toEqual([
    'delivery_age_seconds_sum{destination="billing"} 0',
  ]);
});

test('events are counted by source and operation, and the deliveries that came of them', async () => {
  const metrics = new Metrics();
  const queued = { observer: 'paid', action: 'webhook-1', destination: 'billing' };
  metrics.observe({
    type: 'events.routed',
    tookMs: 1,
    events: [
      { record: event, deliveries: [queued, { ...queued, action: 'webhook-2' }] },
      { record: { ...event, operation: 'insert' }, deliveries: [] },
      { record: event, deliveries: [] },
    ],
  });
  expect(await seriesOf(metrics, 'events_routed_total')).toEqual([
    'events_routed_total{source="orders",operation="update"} 2',
    'events_routed_total{source="orders",operation="insert"} 1',
  ]);
  expect(await seriesOf(metrics, 'deliveries_queued_total')).toEqual([
    'deliveries_queued_total{observer="paid",destination="billing"} 2',
  ]);
});

test('the number of series is bounded: beyond 500 values of a label the rest is counted together', async () => {
  const metrics = new Metrics();
  for (let n = 0; n < 700; n++) metrics.count('condition_faults_total', { observer: `o${n}` });
  const series = await seriesOf(metrics, 'condition_faults_total');
  expect(series).toHaveLength(501);
  expect(series.at(-1)).toBe('condition_faults_total{observer="(others)"} 200');
});

test('what is cleared is gone, with labels and without', async () => {
  const metrics = new Metrics();
  metrics.set('dead_letters', 3);
  metrics.set('queue_deliveries', 3, { destination: 'billing', state: 'ready' });
  metrics.clear('dead_letters', 'queue_deliveries');
  expect(await seriesOf(metrics, 'dead_letters')).toEqual([]);
  expect(await seriesOf(metrics, 'queue_deliveries')).toEqual([]);
});

test('every counter ends in _total, and nothing else does', () => {
  for (const [name, { type }] of definitions) expect(name.endsWith('_total'), name).toBe(type === 'counter');
});

test('a metric is of one kind', () => {
  const metrics = new Metrics();
  expect(() => metrics.set('attempts_total' as MetricName, 1)).toThrow('attempts_total is no Gauge');
});
