import { type Command, Option } from 'commander';
import pc from 'picocolors';
import { readPendingTenants, type TenantPending } from '../../transport/postgres/pending-tenants.ts';
import { type DatabaseStatus, type InstanceStatus, readDatabaseStatus } from '../../transport/postgres/status.ts';
import { type ConfigOptions, command, duration, readDatabaseUrl, withDatabase } from '../options.ts';
import { ago, span, table } from '../table.ts';
import { watch } from '../watch.ts';

const shownTenants = 20;
/** Twice the default of settings.instance_timeout: by then others have taken its work. */
const silentMs = 20_000;

export function statusCommand(): Command {
  return command('status', 'Instances, how far routing is, what is queued for each destination, dead letters')
    .option('--detailed', 'also the last error of each destination, and the tenants with the most deliveries pending')
    .addOption(
      new Option('-w, --watch [interval]', 'again and again, until Ctrl-C; with --json a line each time')
        .argParser(duration)
        .preset('2s'),
    )
    .action(async (options: Options) => {
      const url = await readDatabaseUrl(options);
      const look = async () => {
        const status = await withDatabase(url, async (pool) => ({
          ...(await readDatabaseStatus(pool)),
          ...(options.detailed && { tenants: await readPendingTenants(pool, shownTenants) }),
        }));
        if (!options.json) return describe(status, options.detailed === true);
        return JSON.stringify(status, null, options.watch === undefined ? 2 : 0);
      };
      if (options.watch === undefined) console.log(await look());
      else
        await watch(
          options.watch,
          async () =>
            `${await look()}${options.json ? '' : `\n\n${pc.dim(`${new Date().toISOString().slice(0, 19).replace('T', ' ')} UTC`)}`}`,
        );
    });
}

interface Options extends ConfigOptions {
  readonly json?: true;
  readonly detailed?: true;
  /** Milliseconds. */
  readonly watch?: number;
}

function describe(status: DatabaseStatus & { readonly tenants?: readonly TenantPending[] }, detailed: boolean): string {
  return [
    instances(status),
    ...complaints(status),
    routing(status),
    queue(status, detailed),
    ...tenants(status.tenants ?? []),
    ...breakers(status),
    ...heldDestinations(status),
    ...heldLanes(status),
    ...shadows(status),
    ...unfinished(status),
    deadLetters(status),
  ].join('\n\n');
}

function instances({ instances: rows }: DatabaseStatus): string {
  if (rows.length === 0) return pc.yellow('No instance is running: start one with `pg-observers run`.');
  const cells = rows.map((row) => [
    row.host,
    String(row.pid),
    row.version,
    row.rules_version,
    row.silent_ms > silentMs ? 'is silent' : doings(row),
    String(row.claimed),
    ago(row.started_at),
    `${span(row.silent_ms)} ago`,
  ]);
  return table(['HOST', 'PID', 'VERSION', 'RULES', 'DOES', 'CLAIMED', 'STARTED', 'HEARTBEAT'], cells);
}

/** Before everything else: while a trigger is missing, all the rest may look well. */
function complaints({ complaints: found }: DatabaseStatus): string[] {
  if (found.length === 0) return [];
  const lines = found.map((complaint) => `${complaint.charAt(0).toUpperCase()}${complaint.slice(1)}.`);
  const isCapture = found.some((complaint) => complaint.startsWith('capture: '));
  if (isCapture) lines.push('→ `pg-observers plan` shows the difference, `pg-observers apply` mends it.');
  return [pc.yellow(lines.join('\n'))];
}

function tenants(rows: readonly TenantPending[]): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map(({ tenant, pending, estimated }) => [tenant, estimated ? `~${pending}` : String(pending)]);
  return [table(['TENANT', 'PENDING'], cells)];
}

function breakers({ instances: rows }: DatabaseStatus): string[] {
  const cells = rows.flatMap((row) =>
    row.breakers.map(({ destination, tenant, state }) => [destination, tenant ?? '–', state, `${row.host} ${row.pid}`]),
  );
  if (cells.length === 0) return [];
  const shown = table(['BREAKER OF', 'TENANT', 'IS', 'IN'], cells);
  return [`${pc.yellow('Circuit breakers that are not closed: what they keep waits in the queue.')}\n${shown}`];
}

function doings({ routing, records, housekept_at: housekept }: InstanceStatus): string {
  return [
    ...(routing ? ['routes'] : []),
    'delivers',
    ...(records.length > 0 ? [`records ${records.join(' ')}`] : []),
    ...(housekept === null ? [] : ['keeps house']),
  ].join(', ');
}

function routing({ checkpoint }: DatabaseStatus): string {
  if (checkpoint.lag_events === 0) return 'Routing is up to date.';
  const count = checkpoint.lag_events > 100_000 ? 'more than 100,000' : String(checkpoint.lag_events);
  return pc.yellow(`Routing is behind: ${count} events, the oldest from ${span(checkpoint.lag_ms ?? 0)} ago.`);
}

function queue({ queue: rows }: DatabaseStatus, detailed: boolean): string {
  if (rows.length === 0) return 'Nothing is queued.';
  const head = ['DESTINATION', 'READY', 'CLAIMED', 'RETRYING', 'BLOCKED', 'OLDEST'];
  const cells = rows.map((row) => [
    row.destination,
    ...[row.ready, row.claimed, row.retrying, row.blocked].map((n) => (row.estimated && n > 0 ? `~${n}` : String(n))),
    span(row.oldest_ms),
    ...(detailed ? [row.last_error ?? '–'] : []),
  ]);
  return table(detailed ? [...head, 'LAST ERROR'] : head, cells);
}

function heldDestinations({ held_destinations: rows }: DatabaseStatus): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map((row) => [
    row.destination,
    row.disabled_at === null ? 'paused' : 'disabled',
    row.disabled_at === null ? '–' : ago(row.disabled_at),
    row.paused_until === null ? '–' : span(new Date(row.paused_until).getTime() - Date.now()),
    row.disabled_by === 'person' ? 'a person' : 'its receiver',
    row.reason ?? '–',
  ]);
  const held = table(['DESTINATION', 'STATE', 'SINCE', 'FOR', 'BY', 'REASON'], cells);
  return [`${pc.yellow('Destinations that are sent nothing: `destinations enable NAME` lets them go on.')}\n${held}`];
}

function heldLanes({ held_lanes: lanes }: DatabaseStatus): string[] {
  if (lanes.length === 0) return [];
  const cells = lanes.map((lane) => [
    lane.dead_letter,
    ago(lane.died_at),
    lane.observer,
    lane.destination,
    String(lane.pending),
    lane.ordering_key,
  ]);
  const held = table(['DEAD LETTER', 'DIED', 'OBSERVER', 'DESTINATION', 'WAITING', 'ORDERED BY'], cells);
  return [
    `${pc.red('Lanes that wait for a dead letter: `dlq retry ID` or `dlq discard ID` lets them go on.')}\n${held}`,
  ];
}

function shadows({ shadows: rows }: DatabaseStatus): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map((row) => [row.observer, String(row.records), String(row.faults), ago(row.newest)]);
  const head = ['IN SHADOW MODE', 'NOT SENT IN 24 H', 'FAULTS', 'NEWEST'];
  return [table(head, cells)];
}

function unfinished({ unfinished: rows }: DatabaseStatus): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map(({ kind, name, started_at, updated_at, events }) => [
    `${kind} ${name}`,
    ago(started_at),
    ago(updated_at),
    String(events),
    kind === 'replay' ? `replay --resume ${name}` : `backfill ${name} --resume`,
  ]);
  return [table(['NOT FINISHED', 'BEGUN', 'LAST STEP', 'EVENTS', 'IF IT WAS INTERRUPTED'], cells)];
}

function deadLetters({ dead_letters: count }: DatabaseStatus): string {
  if (count === 0) return 'No dead letters.';
  return pc.red(`${count} dead ${count === 1 ? 'letter' : 'letters'}: see \`pg-observers dlq list\`.`);
}
