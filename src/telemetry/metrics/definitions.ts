/**
 * Every metric by name, without the prefix `pg_observers_`: one truth for the code, docs/metrics.md, the dashboard and the
 * alert rules, which tests hold against it. Names and units follow https://prometheus.io/docs/practices/naming/.
 */

export type LabelName =
  | 'channel'
  | 'destination'
  | 'error_class'
  | 'observer'
  | 'operation'
  | 'outcome'
  | 'reason'
  | 'source'
  | 'stage'
  | 'state'
  | 'tenant'
  | 'version';

export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels?: readonly LabelName[];
  /** Upper bounds, seconds. Only for histograms. */
  readonly buckets?: readonly number[];
}

const perDestination = ['destination'] as const;
/** From a local receiver to the longest timeout that may be set. */
const durations = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** From at once to retries of days. */
const ages = [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1_800, 3_600, 21_600, 86_400];

export const metricDefinitions = {
  // ------------------------------------------------------------------ capture and decide
  events_captured_total: {
    type: 'counter',
    help: 'Events written to the log since it was made, by all writers; those of transactions that rolled back are counted, too.',
  },
  events_routed_total: {
    type: 'counter',
    help: 'Events that this process has decided about.',
    labels: ['source', 'operation'],
  },
  deliveries_queued_total: {
    type: 'counter',
    help: 'Deliveries that came of them.',
    labels: ['observer', 'destination'],
  },
  condition_faults_total: {
    type: 'counter',
    help: 'Conditions that could not be evaluated; each is a dead letter.',
    labels: ['observer'],
  },
  routing_lag_events: {
    type: 'gauge',
    help: 'Events in the log that no instance has decided about yet; counted up to 100,001.',
  },
  routing_lag_seconds: { type: 'gauge', help: 'Age of the oldest of them; 0 when there is none.' },
  checkpoint_age_seconds: { type: 'gauge', help: 'Time since routing last moved on. Grows on an idle database, too.' },
  routing: { type: 'gauge', help: '1 when this process is the one that routes.' },
  router_changes_total: {
    type: 'counter',
    help: 'Times that this process took up routing (acquired) or gave it up (lost).',
    labels: ['state'],
  },
  notifications_recorded_total: {
    type: 'counter',
    help: 'Notifications of channel sources that became events.',
    labels: ['source'],
  },
  notifications_lost_total: {
    type: 'counter',
    help: 'Notifications that no instance could record in time.',
    labels: ['channel'],
  },
  listener_connects_total: { type: 'counter', help: 'Times that the LISTEN connection was made.' },
  listener_disconnects_total: {
    type: 'counter',
    help: 'Times that it was lost; until it is back, changes are found by polling.',
  },

  // --------------------------------------------------------------------------------- deliver
  attempts_total: {
    type: 'counter',
    help: 'Attempts that ended: delivered, retry (another one follows) or dead.',
    labels: ['destination', 'outcome'],
  },
  attempt_failures_total: {
    type: 'counter',
    help: 'Attempts that failed, by what went wrong.',
    labels: ['destination', 'error_class'],
  },
  attempt_duration_seconds: {
    type: 'histogram',
    help: 'What attempts took.',
    labels: perDestination,
    buckets: durations,
  },
  delivery_age_seconds: {
    type: 'histogram',
    help: 'From the change to its delivery, retries included, by the clocks of the database and of this host.',
    labels: perDestination,
    buckets: ages,
  },
  dead_letters_total: {
    type: 'counter',
    help: 'Deliveries that became dead letters, by a last attempt or without one (rule gone, event gone, max_age over). Elsewhere: conditions that failed (condition_faults_total), tenants with too many waiting (over_quota_total).',
    labels: ['observer', 'destination', 'reason'],
  },
  in_flight: { type: 'gauge', help: 'Attempts of this process in progress.', labels: perDestination },
  breaker_state: {
    type: 'gauge',
    help: 'Circuit breaker of this process: 0 closed, 1 half-open (one attempt probes), 2 open.',
    labels: perDestination,
  },
  breaker_changes_total: {
    type: 'counter',
    help: 'Times that a circuit breaker changed to a state.',
    labels: ['destination', 'state'],
  },
  destination_state: {
    type: 'gauge',
    help: 'Whether anything is sent there: 0 enabled, 1 paused (the receiver asked for it), 2 disabled until somebody enables it.',
    labels: perDestination,
  },
  destination_pauses_total: {
    type: 'counter',
    help: 'Times that a receiver asked this process to wait (Retry-After).',
    labels: perDestination,
  },
  over_quota_total: {
    type: 'counter',
    help: 'Deliveries that became dead letters because too many of their tenant waited (settings.tenants.max_pending).',
    labels: ['tenant'],
  },
  settlements_refused_total: {
    type: 'counter',
    help: 'Outcomes that the database refused to store; their deliveries stay queued.',
  },
  outcomes_fenced_total: {
    type: 'counter',
    help: 'Outcomes that came too late: another instance had taken the delivery over.',
  },

  // ----------------------------------------------------------------- the queue, for all instances
  queue_deliveries: {
    type: 'gauge',
    help: 'Deliveries queued: ready, claimed, retrying (waiting for their next attempt) or blocked (behind another one of their key). A sample above 100,000.',
    labels: ['destination', 'state'],
  },
  queue_tenant_deliveries: {
    type: 'gauge',
    help: 'Deliveries queued of the 20 tenants with the most.',
    labels: ['tenant'],
  },
  queue_oldest_seconds: { type: 'gauge', help: 'Age of the oldest delivery queued.', labels: perDestination },
  dead_letters: { type: 'gauge', help: 'Dead letters stored, waiting for somebody to replay or discard them.' },
  held_lanes: { type: 'gauge', help: 'Ordered lanes that wait for a dead letter; counted up to 20.' },

  // --------------------------------------------------------------------------------- recover
  deliveries_rescued_total: { type: 'counter', help: 'Deliveries that this process took over from a silent instance.' },
  instances: {
    type: 'gauge',
    help: 'Instances, alive or silent for longer than settings.instance_timeout.',
    labels: ['state'],
  },
  instance_suspensions_total: {
    type: 'counter',
    help: 'Times that this process had been silent for too long and gave up its claims.',
  },
  partitions_dropped_total: { type: 'counter', help: 'Days of the log and of the history that retention dropped.' },

  // -------------------------------------------------------------------------- this process
  ready: { type: 'gauge', help: '1 when /readyz answers 200.' },
  database_up: {
    type: 'gauge',
    help: '1 when the database answered this scrape; without it, what comes from its tables is missing.',
  },
  database_outages_total: { type: 'counter', help: 'Times that a stage found the database away.', labels: ['stage'] },
  stage_failures_total: {
    type: 'counter',
    help: 'Times that a stage failed for another reason; each is a bug to report.',
    labels: ['stage'],
  },
  capture_drift: { type: 'gauge', help: 'What differs between the file and the triggers in the database; 0: nothing.' },
  rules_refused_total: { type: 'counter', help: 'Reloads whose rules were refused; the former ones keep running.' },
  rules_info: { type: 'gauge', help: '1, with the version of the rules in force.', labels: ['version'] },
  build_info: { type: 'gauge', help: '1, with the version of the program.', labels: ['version'] },
  process_cpu_seconds_total: { type: 'counter', help: 'Processor time of this process.' },
  process_resident_memory_bytes: { type: 'gauge', help: 'Memory of this process.' },
  process_heap_used_bytes: { type: 'gauge', help: 'JavaScript heap in use.' },
  process_start_time_seconds: { type: 'gauge', help: 'When this process began, Unix time.' },
  event_loop_lag_seconds: { type: 'gauge', help: 'How late a timer was during this scrape.' },
} as const satisfies Readonly<Record<string, MetricDefinition>>;

export type MetricName = keyof typeof metricDefinitions;

export const prefix = 'pg_observers_';
