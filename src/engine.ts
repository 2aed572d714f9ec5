/**
 * The composition root: builds the stages, starts and stops them, and rings one when another left
 * work for it in a table. The stages know nothing of each other.
 */

import { randomUUID } from 'node:crypto';
import { UserError } from './domain/errors.ts';
import type { Config } from './domain/rules.ts';
import type { Telemetry } from './domain/telemetry.ts';
import { ChannelRecorder } from './pipeline/capture/channel-recorder.ts';
import { Router } from './pipeline/decide/router.ts';
import { RuleIndex } from './pipeline/decide/rule-index.ts';
import { Dispatcher } from './pipeline/deliver/dispatcher.ts';
import { Housekeeper } from './pipeline/recover/housekeeper.ts';
import { Membership } from './pipeline/recover/membership.ts';
import { TelemetryBus } from './telemetry/bus.ts';
import { captureDrift } from './transport/postgres/capture-drift.ts';
import { applyCapture } from './transport/postgres/capture-plan.ts';
import { readCheckpoint } from './transport/postgres/checkpoint.ts';
import { describeError, isTransient } from './transport/postgres/connection.ts';
import { DatabasePools } from './transport/postgres/database-pools.ts';
import { createDeliveryQueue } from './transport/postgres/delivery-queue.ts';
import { readHolds } from './transport/postgres/destination-holds.ts';
import { keepHouse } from './transport/postgres/housekeeping.ts';
import { createInstanceRegistry } from './transport/postgres/instance-registry.ts';
import { inTime, Lifeline } from './transport/postgres/lifeline.ts';
import { requireMigrations } from './transport/postgres/migrations.ts';
import { openNotificationLog } from './transport/postgres/notification-log.ts';
import { readPendingTenants } from './transport/postgres/pending-tenants.ts';
import { isRouted, openRoutingSession } from './transport/postgres/routing-session.ts';
import { openStatements } from './transport/postgres/statements.ts';
import { type DatabaseStatus, readDatabaseStatus, readRoutingLag } from './transport/postgres/status.ts';
import { WakeUpCalls } from './transport/postgres/wake-up-calls.ts';
import { Wires } from './transport/postgres/wires.ts';

export interface EngineOptions {
  /** Migrate and install triggers before starting, and triggers of new partitions while running. Default true. */
  readonly apply?: boolean;
  /** Told of everything that happens; more can subscribe later. */
  readonly telemetry?: Telemetry;
}

export interface EngineStatus extends DatabaseStatus {
  /** This process. */
  readonly instance: { readonly id: string; readonly routing: boolean; readonly rules_version: string };
  readonly destinations: readonly DestinationStatus[];
}

export interface DestinationStatus {
  readonly name: string;
  readonly kind: string;
  readonly state: 'enabled' | 'paused' | 'disabled';
  readonly in_flight: number;
  readonly waiting: number;
  readonly breaker: 'closed' | 'open' | 'half-open';
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not; empty when ready. */
  readonly reasons: readonly string[];
}

/** Those with the most waiting: who comes after so many is far from any quota. */
const countedTenants = 10_000;
/** Routing may lag this much before the instance says it is not ready. Milliseconds. */
const lagBoundMs = 60_000;
/** Notifications that do not arrive by then are not waited for. Milliseconds. */
const listenWithinMs = 1_500;

export class Engine {
  readonly #options: EngineOptions;
  readonly #bus = new TelemetryBus();
  /** This process, for the others: the id of its instance changes when it was taken for dead. */
  readonly #process = randomUUID();
  readonly #wires = new Wires();
  readonly #pools: DatabasePools;
  readonly #wakeUpCalls: WakeUpCalls;
  readonly #lifeline = new Lifeline(this.#wires);
  readonly #recorder: ChannelRecorder;
  readonly #router: Router;
  readonly #dispatcher: Dispatcher;
  readonly #membership: Membership;
  readonly #housekeeper: Housekeeper;
  #config: Config;
  #rules: RuleIndex;
  #state: 'new' | 'starting' | 'running' | 'stopping' | 'stopped' = 'new';
  #stopped: Promise<void> | null = null;
  #reloading: Promise<void> = Promise.resolve();

  /** @param config from `loadConfig`, `parseConfig` or `defineConfig` */
  constructor(config: Config, options: EngineOptions = {}) {
    this.#options = options;
    this.#config = config;
    this.#rules = new RuleIndex(config);
    if (options.telemetry !== undefined) this.#bus.subscribe(options.telemetry);
    this.#pools = new DatabasePools(config, this.#wires);
    // So that `status` says at once who routes.
    this.#bus.subscribe(({ type }) => {
      if (type === 'routing.acquired' || type === 'routing.lost') this.#membership.beatSoon();
    });
    const common = { telemetry: this.#bus.emit, isTransient };
    this.#membership = new Membership({
      ...common,
      openRegistry: (id) => createInstanceRegistry(this.#pools.durable, id, this.#process),
      newInstanceId: randomUUID,
      timeoutMs: () => this.#config.settings.instanceTimeoutMs,
      rulesVersion: () => this.#config.version,
      routing: () => this.#router.routing,
      breakers: () => this.#dispatcher.breakers,
      onDeclaredDead: () => this.#dispatcher.forget(),
      onDoubt: () => this.#dispatcher.distrustClaims(),
      onRescued: () => this.#dispatcher.wake(),
      onHolds: (holds, askedAt) => this.#dispatcher.holds.take(holds, askedAt),
      onEvicted: () => this.#placesAreFree(),
    });
    this.#dispatcher = new Dispatcher({
      ...common,
      instance: () => this.#membership.id,
      queue: () => createDeliveryQueue(this.#pools, this.#membership.id),
      // Whoever routes is told of everything that is new, and need look only half as often for what others left.
      pollIntervalMs: () => this.#config.settings.pollIntervalMs * (this.#router.routing ? 2 : 1),
      alive: () => this.#membership.alive(),
      confirmNewestRules: () => this.#membership.confirmNewestRules(),
      // So that `status` says so at once; those of single tenants go along with the next heartbeat.
      onBreaker: () => this.#membership.beatSoon(),
      readHolds: () => readHolds(this.#pools.durable),
      openDatabase: (url, connections) =>
        openStatements(url ?? this.#pools.directUrl, {
          connections,
          instance: () => this.#membership.id,
          ...(url === null && { wires: this.#wires }),
        }),
      onHandedBack: () => this.#wakeUpCalls.leave('deliveries'),
    });
    this.#router = new Router({
      ...common,
      openSession: async () => {
        if (await isRouted(this.#pools.durable)) return null;
        const { environment, pollIntervalMs, instanceTimeoutMs } = this.#config.settings;
        const idleTimeoutMs = 2 * pollIntervalMs + instanceTimeoutMs;
        return openRoutingSession(this.#pools.directUrl, {
          environment,
          idleTimeoutMs,
          wires: this.#wires,
          process: this.#process,
        });
      },
      rules: () => this.#rules,
      pollIntervalMs: () => this.#config.settings.pollIntervalMs,
      quotas: {
        quotas: () => this.#config.settings.tenants,
        readPending: async () => {
          const pending = await readPendingTenants(this.#pools.durable, countedTenants);
          return new Map(pending.map((one) => [one.tenant, one.pending]));
        },
      },
      reserve: (deliveries) => this.#dispatcher.reserve(deliveries),
      onDeliveries: () => this.#dispatcher.wake(),
    });
    this.#recorder = new ChannelRecorder({
      ...common,
      openLog: () =>
        openNotificationLog(this.#pools.directUrl, {
          process: this.#process,
          timeoutMs: this.#config.settings.instanceTimeoutMs,
          wires: this.#wires,
        }),
      onEvents: () => this.#router.wake(),
    });
    this.#housekeeper = new Housekeeper({
      ...common,
      keepHouse: () => keepHouse(this.#pools.durable, this.#config.settings.retention, this.#membership.id),
      buryOrphans: () => this.#buryOrphans(),
      checkCapture: () => captureDrift(this.#pools.direct, this.#config, this.#options.apply !== false),
    });
    this.#wakeUpCalls = new WakeUpCalls({
      telemetry: this.#bus.emit,
      url: this.#pools.directUrl,
      process: this.#process,
      pool: this.#pools.durable,
      channels: channelsOf(config),
      onEvents: () => this.#router.wake(),
      onReplays: () => this.#router.wakeForReplays(),
      onDeliveries: () => this.#dispatcher.wake(),
      onNotification: (channel, payload) => this.#recorder.hear(channel, payload),
      onListening: (channels) => this.#recorder.listening(channels),
      onMark: (payload) => this.#recorder.hearMark(payload),
      onDeaf: () => this.#recorder.deafened(),
      onPlaces: () => this.#placesAreFree(),
      onDestinations: () => void this.#dispatcher.holds.look(),
    });
  }

  #placesAreFree(): void {
    this.#router.placeIsFree();
    this.#recorder.look();
  }

  /** @returns a function that unsubscribes */
  subscribe(subscriber: Telemetry): () => void {
    return this.#bus.subscribe(subscriber);
  }

  get config(): Config {
    return this.#config;
  }

  /**
   * Resolves when changes are being observed, or when stopped before. Waits for a database that is away, until `stop`.
   * @throws UserError when waiting would not help: wrong login, no rights, an unknown table, a newer migration
   */
  async start(): Promise<void> {
    if (this.#stopped !== null) return this.#stopped;
    if (this.#state !== 'new') throw new Error('an engine starts once');
    this.#state = 'starting';
    const began = performance.now();
    try {
      await this.#startStages();
    } catch (error) {
      // Stopped in the middle, it fails at whatever it was doing.
      if (this.#stopped !== null) return this.#stopped;
      await this.stop({ reason: 'it could not start' });
      throw error;
    }
    if (this.#stopped !== null) return this.#stopped;
    this.#state = 'running';
    const { sources, observers } = this.#config;
    const tookMs = performance.now() - began;
    this.#bus.emit({ type: 'engine.started', sources: sources.size, observers: observers.size, tookMs });
    void this.#wakeUpCalls.probe();
  }

  async #startStages(): Promise<void> {
    const stopped = () => this.#stopped !== null;
    await this.#pools.ready(this.#bus.emit, stopped);
    if (stopped()) return;
    if (this.#options.apply === false) await requireMigrations(this.#pools.direct);
    else await applyCapture(this.#pools.direct, this.#config);
    // Before anything is claimed: a copy of a database holds copies of the deliveries that were on their way.
    await readCheckpoint(this.#pools.durable, this.#config.settings.environment);
    await this.#membership.join();
    this.#lifeline.watch(
      this.#pools.directUrl,
      () => this.#membership.silentMs(),
      () => this.#config.settings.instanceTimeoutMs,
    );
    this.#dispatcher.load(this.#config);
    this.#recorder.load(this.#config);
    await this.#wakeUpCalls.start();
    this.#recorder.start();
    await this.#recorder.ready(listenWithinMs);
    this.#router.start();
    this.#dispatcher.start();
    this.#housekeeper.start();
  }

  /**
   * Takes up new rules, all of them or none; one reload after the other. `database` and `settings.listen` need a restart.
   * @throws ConfigError | UserError and keeps the old ones
   */
  reload(config: Config): Promise<void> {
    this.#reloading = this.#reloading.catch(() => {}).then(() => this.#reload(config));
    return this.#reloading;
  }

  async #reload(config: Config): Promise<void> {
    if (this.#state !== 'running')
      throw new UserError(`rules are taken up while running; this engine is ${this.#state}`);
    if (config.database !== this.#config.database || config.directDatabase !== this.#config.directDatabase) {
      throw new UserError('`database:` or `direct_database:` changed: that needs a restart.', 2);
    }
    // The steps that may fail come first.
    if (this.#options.apply !== false) await applyCapture(this.#pools.direct, config);
    this.#dispatcher.load(config);
    this.#config = config;
    // Before anything is queued by the new rules: an instance with older ones must know that these are newer, or it would
    // take what it doesn't know for removed. (Away, the database takes no deliveries either.)
    await this.#membership.announce().catch(() => {});
    this.#rules = new RuleIndex(config);
    this.#recorder.load(config);
    await this.#wakeUpCalls.setChannels(channelsOf(config));
    await this.#recorder.ready(listenWithinMs);
    this.#membership.beatSoon();
    this.#housekeeper.checkSoon();
    this.#bus.emit({ type: 'rules.loaded', version: config.version, observers: config.observers.size });
  }

  /**
   * From the call on nothing new is taken up: attempts in flight get `timeoutMs` milliseconds, what is claimed and not begun is
   * handed back. Also before and during `start`. Idempotent; never rejects.
   */
  stop({ timeoutMs = 30_000, reason = 'asked to' }: { timeoutMs?: number; reason?: string } = {}): Promise<void> {
    this.#stopped ??= this.#stop(timeoutMs, reason);
    return this.#stopped;
  }

  async #stop(timeoutMs: number, reason: string): Promise<void> {
    this.#state = 'stopping';
    this.#bus.emit({ type: 'engine.stopping', reason });
    await this.#lifeline.during(this.#pools.claims, async () => {
      // At once, for they meet in tables only: no stage takes up anything new while another one is still ending.
      await Promise.all([this.#dispatcher.stop(timeoutMs), this.#housekeeper.stop(), this.#stopWhatOnlyOneDoes()]);
      // Best effort: when the database is away, the claims are taken over after the instance timeout.
      await this.#handBack().catch(() => {});
      await this.#membership.leave().catch(() => {});
    });
    await this.#lifeline.hangUp(this.#pools.all);
    this.#state = 'stopped';
    this.#bus.emit({ type: 'engine.stopped' });
  }

  /** The ear first: what it hears until it is closed is still written down. */
  async #stopWhatOnlyOneDoes(): Promise<void> {
    await Promise.all([this.#router.stop(), this.#wakeUpCalls.stop().then(() => this.#recorder.stop())]);
    await this.#wakeUpCalls.leave('places');
  }

  async #handBack(): Promise<void> {
    const queue = createDeliveryQueue(this.#pools, this.#membership.id);
    const count = await queue.releaseUnknown([]);
    if (count > 0) this.#bus.emit({ type: 'delivery.released', count, reason: 'this instance stops' });
  }

  /** @throws when the database is away, when it is not migrated yet, and after `stop` */
  async status(): Promise<EngineStatus> {
    if (this.#state === 'stopped') throw new UserError('This engine is stopped.');
    return {
      ...(await inTime(readDatabaseStatus(this.#pools.durable))),
      instance: { id: this.#membership.id, routing: this.#router.routing, rules_version: this.#config.version },
      destinations: this.destinations(),
    };
  }

  /** What this process has of each. */
  destinations(): readonly DestinationStatus[] {
    const now = performance.now();
    return this.#dispatcher.lanes.map((lane) => ({
      name: lane.destination.name,
      kind: lane.destination.kind,
      state: lane.state(now),
      in_flight: lane.inFlight,
      waiting: lane.waiting,
      breaker: lane.breakerState(now),
    }));
  }

  get routing(): boolean {
    return this.#router.routing;
  }

  /** What differs between the file and the triggers in the database, as seen within the last minute. */
  get drift(): readonly string[] {
    return this.#housekeeper.drift;
  }

  /** For those who read the rules: what they can't take up is told to all who subscribed. */
  refuse(message: string): void {
    this.#bus.emit({ type: 'rules.refused', message });
  }

  /** Never rejects, and answers within a few seconds. */
  async readiness(): Promise<Readiness> {
    const reasons = this.#state === 'running' ? await this.#whyNotReady() : [notRunning[this.#state]];
    return { ready: reasons.length === 0, reasons };
  }

  async #whyNotReady(): Promise<string[]> {
    const reasons: string[] = [];
    const complaint = this.#wakeUpCalls.complaint();
    if (complaint !== null) reasons.push(complaint);
    const missing = this.#recorder.complaint();
    if (missing !== null) reasons.push(missing);
    if (!this.#membership.alive()) reasons.push('the heartbeat does not reach the database');
    for (const step of this.#housekeeper.drift) reasons.push(`capture: ${step}`);
    try {
      const { lagMs } = await inTime(readRoutingLag(this.#pools.durable));
      if ((lagMs ?? 0) > lagBoundMs) reasons.push(`routing is ${Math.round((lagMs ?? 0) / 1000)} s behind`);
    } catch (error) {
      reasons.push(`database: ${describeError(error)}`);
    }
    return reasons;
  }

  async #buryOrphans(): Promise<number> {
    if (!this.#membership.newestRules) return 0;
    return this.#membership.registry.buryOrphans([...this.#config.destinations.keys()]);
  }
}

const notRunning = {
  new: 'not started',
  starting: 'starting, or waiting for the database',
  stopping: 'stopping',
  stopped: 'stopped',
};

function channelsOf(config: Config): string[] {
  const channels = [...config.sources.values()].flatMap((source) =>
    source.kind === 'channel' ? [source.channel] : [],
  );
  return [...new Set(channels)];
}

/** The engine, ready to `start()`. */
export function createEngine(config: Config, options?: EngineOptions): Engine {
  return new Engine(config, options);
}
