/**
 * The composition root: builds the stages, and rings one when another left work for it in a table. The stages know nothing
 * of each other.
 */

import { randomUUID } from 'node:crypto';
import type { Config } from './domain/rules.ts';
import type { Telemetry } from './domain/telemetry.ts';
import { ChannelRecorder } from './pipeline/capture/channel-recorder.ts';
import { Router } from './pipeline/decide/router.ts';
import type { RuleIndex } from './pipeline/decide/rule-index.ts';
import { Dispatcher } from './pipeline/deliver/dispatcher.ts';
import { Housekeeper, type RetentionStep } from './pipeline/recover/housekeeper.ts';
import { Membership } from './pipeline/recover/membership.ts';
import { openArchive } from './transport/archive/directory-archive.ts';
import type { DayArchive, Orphans } from './transport/contract.ts';
import { captureDrift } from './transport/postgres/capture-drift.ts';
import { DatabasePools } from './transport/postgres/database-pools.ts';
import { createDeliveryQueue } from './transport/postgres/delivery-queue.ts';
import { readHolds } from './transport/postgres/destination-holds.ts';
import { isTransient } from './transport/postgres/failures.ts';
import { keepHouse } from './transport/postgres/housekeeping.ts';
import { createInstanceRegistry, keepComplaints } from './transport/postgres/instance-registry.ts';
import { Lifeline } from './transport/postgres/lifeline.ts';
import { openNotificationLog } from './transport/postgres/notification-log.ts';
import { readPendingTenants } from './transport/postgres/pending-tenants.ts';
import { QueueIndexes } from './transport/postgres/queue-indexes.ts';
import { enforceRetention, type RetentionRun } from './transport/postgres/retention.ts';
import { isRouted, openRoutingSession } from './transport/postgres/routing-session.ts';
import { openStatements } from './transport/postgres/statements.ts';
import { WakeUpCalls } from './transport/postgres/wake-up-calls.ts';
import { Wires } from './transport/postgres/wires.ts';

/** What may change while they run, asked for anew each time. */
export interface Current {
  readonly config: () => Config;
  readonly rules: () => RuleIndex;
}

/** What stays as it is as long as they run. */
export interface Fixed {
  /** Whether triggers of new partitions are installed while running. */
  readonly apply: boolean;
  /** Share of traces whose spans are reported, 0 … 1; null: none are. */
  readonly tracedShare: number | null;
  readonly telemetry: Telemetry;
}

/** Those with the most waiting: who comes after so many is far from any quota. */
const countedTenants = 10_000;

export class Stages {
  /** This process, for the others: the id of its instance changes when it was taken for dead. */
  readonly #process = randomUUID();
  readonly #wires = new Wires();
  readonly #current: Current;
  #archive: { readonly directory: string; readonly archive: DayArchive } | null = null;
  readonly pools: DatabasePools;
  readonly lifeline = new Lifeline(this.#wires);
  readonly wakeUpCalls: WakeUpCalls;
  readonly recorder: ChannelRecorder;
  readonly router: Router;
  readonly dispatcher: Dispatcher;
  readonly membership: Membership;
  readonly housekeeper: Housekeeper;

  constructor(current: Current, { apply, tracedShare, telemetry }: Fixed) {
    this.#current = current;
    this.pools = new DatabasePools(current.config(), this.#wires);
    const common = { telemetry, isTransient };
    this.membership = new Membership({
      ...common,
      openRegistry: (id) => createInstanceRegistry(this.pools.durable, id, this.#process),
      newInstanceId: randomUUID,
      timeoutMs: () => current.config().settings.instanceTimeoutMs,
      rulesVersion: () => current.config().version,
      routing: () => this.router.routing,
      breakers: () => this.dispatcher.breakers,
      onDeclaredDead: () => this.dispatcher.forget(),
      onDoubt: () => this.dispatcher.distrustClaims(),
      onRescued: () => this.dispatcher.wake(),
      onHolds: (holds, askedAt) => this.dispatcher.holds.take(holds, askedAt),
      onEvicted: () => this.#placesAreFree(),
    });
    this.dispatcher = new Dispatcher({
      ...common,
      tracedShare,
      instance: () => this.membership.id,
      queue: () => createDeliveryQueue(this.pools, this.membership.id),
      // Whoever routes is told of everything that is new, and need look only half as often for what others left.
      pollIntervalMs: () => current.config().settings.pollIntervalMs * (this.router.routing ? 2 : 1),
      alive: () => this.membership.alive(),
      confirmNewestRules: () => this.membership.confirmNewestRules(),
      // So that `status` says so at once; those of single tenants go along with the next heartbeat.
      onBreaker: () => this.membership.beatSoon(),
      readHolds: () => readHolds(this.pools.durable),
      openDatabase: (url, connections) =>
        openStatements(url ?? this.pools.directUrl, {
          connections,
          instance: () => this.membership.id,
          ...(url === null && { wires: this.#wires }),
        }),
      onHandedBack: () => this.wakeUpCalls.leave('deliveries'),
    });
    this.router = new Router({
      ...common,
      openSession: async () => {
        if (await isRouted(this.pools.durable)) return null;
        const { environment, pollIntervalMs, instanceTimeoutMs } = current.config().settings;
        const idleTimeoutMs = 2 * pollIntervalMs + instanceTimeoutMs;
        return openRoutingSession(this.pools.directUrl, {
          environment,
          idleTimeoutMs,
          wires: this.#wires,
          process: this.#process,
        });
      },
      rules: () => current.rules(),
      pollIntervalMs: () => current.config().settings.pollIntervalMs,
      quotas: {
        quotas: () => current.config().settings.tenants,
        readPending: async () => {
          const pending = await readPendingTenants(this.pools.durable, countedTenants);
          return new Map(pending.map((one) => [one.tenant, one.pending]));
        },
      },
      reserve: (deliveries) => this.dispatcher.reserve(deliveries),
      onDeliveries: () => {
        this.dispatcher.wake();
        if (this.membership.othersAlive) this.wakeUpCalls.leaveSoon();
      },
    });
    this.recorder = new ChannelRecorder({
      ...common,
      openLog: () =>
        openNotificationLog(this.pools.directUrl, {
          process: this.#process,
          timeoutMs: current.config().settings.instanceTimeoutMs,
          wires: this.#wires,
        }),
      onEvents: () => this.router.wake(),
    });
    const queueIndexes = new QueueIndexes({ pool: this.pools.durable, url: this.pools.directUrl });
    this.housekeeper = new Housekeeper({
      ...common,
      keepHouse: () => keepHouse(this.pools.durable, current.config().settings.retention, this.membership.id),
      enforceRetention: (signal, onStep) => this.#enforceRetention(signal, onStep),
      buryOrphans: () => this.#buryOrphans(),
      checkCapture: () => captureDrift(this.pools.direct, current.config(), apply),
      keepQueueSmall: (signal) => queueIndexes.keepSmall(signal),
      keepComplaints: (complaints) => keepComplaints(this.pools.durable, this.membership.id, complaints),
    });
    this.wakeUpCalls = new WakeUpCalls({
      telemetry,
      url: this.pools.directUrl,
      process: this.#process,
      pool: this.pools.durable,
      channels: channelsOf(current.config()),
      onEvents: () => this.router.wake(),
      onReplays: () => this.router.wakeForReplays(),
      onDeliveries: () => this.dispatcher.wake(),
      onNotification: (channel, payload) => this.recorder.hear(channel, payload),
      onListening: (channels) => this.recorder.listening(channels),
      onMark: (payload) => this.recorder.hearMark(payload),
      onDeaf: () => this.recorder.deafened(),
      onPlaces: () => this.#placesAreFree(),
      onDestinations: () => void this.dispatcher.holds.look(),
    });
  }

  #placesAreFree(): void {
    this.router.placeIsFree();
    this.recorder.look();
  }

  async #enforceRetention(signal: AbortSignal, onStep: (step: RetentionStep) => void): Promise<RetentionRun> {
    const policy = this.#current.config().settings.retention;
    const archive = policy.archive === null ? null : this.#archiveAt(policy.archive.directory);
    return enforceRetention(this.pools.durable, { policy, archive, signal, onStep });
  }

  /** The same one as long as the settings name it: it remembers what it has stored. */
  #archiveAt(directory: string): DayArchive {
    if (this.#archive?.directory !== directory) this.#archive = { directory, archive: openArchive(directory) };
    return this.#archive.archive;
  }

  async #buryOrphans(): Promise<readonly Orphans[]> {
    if (!this.membership.newestRules) return [];
    return this.membership.registry.buryOrphans([...this.#current.config().destinations.keys()]);
  }
}

/** Each once: several sources may observe one. */
export function channelsOf(config: Config): string[] {
  const channels = [...config.sources.values()].flatMap((source) =>
    source.kind === 'channel' ? [source.channel] : [],
  );
  return [...new Set(channels)];
}
