/**
 * The composition root: builds the stages, starts them in order, stops them in reverse, and rings one when another left
 * work for it in a table. The stages know nothing of each other.
 */

import { randomUUID } from 'node:crypto';
import type pg from 'pg';
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
import { applyCapture, type PlanStep, planCapture } from './transport/postgres/capture-plan.ts';
import {
  connectionConfig,
  createPool,
  describeError,
  isTransient,
  sqlState,
  unreachable,
} from './transport/postgres/connection.ts';
import { createDeliveryQueue } from './transport/postgres/delivery-queue.ts';
import { keepHouse } from './transport/postgres/housekeeping.ts';
import { createInstanceRegistry } from './transport/postgres/instance-registry.ts';
import { createListener, type Listener } from './transport/postgres/listener.ts';
import { wakeChannel } from './transport/postgres/locks.ts';
import { pendingMigrations } from './transport/postgres/migrations.ts';
import { openNotificationLog } from './transport/postgres/notification-log.ts';
import { openRoutingSession } from './transport/postgres/routing-session.ts';
import { type DatabaseStatus, readDatabaseStatus } from './transport/postgres/status.ts';

export interface EngineOptions {
  /** Migrate and install triggers before starting, and triggers of new partitions while running. Default true. */
  readonly apply?: boolean;
  /** Told of everything that happens; more can subscribe later. */
  readonly telemetry?: Telemetry;
}

export interface EngineStatus extends DatabaseStatus {
  /** This process. */
  readonly instance: { readonly id: string; readonly routing: boolean; readonly rulesVersion: string };
  readonly destinations: readonly DestinationStatus[];
}

export interface DestinationStatus {
  readonly name: string;
  readonly kind: string;
  readonly inFlight: number;
  readonly waiting: number;
  readonly breaker: 'closed' | 'open' | 'half-open';
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not; empty when ready. */
  readonly reasons: readonly string[];
}

/** Routing may lag this much before the instance says it is not ready. Milliseconds. */
const lagBoundMs = 60_000;
const workerConnections = 4;
const claimConnections = 2;

export class Engine {
  readonly #options: EngineOptions;
  readonly #bus = new TelemetryBus();
  readonly #pool: pg.Pool;
  readonly #claimPool: pg.Pool;
  readonly #listener: Listener;
  readonly #recorder: ChannelRecorder;
  readonly #router: Router;
  readonly #dispatcher: Dispatcher;
  readonly #membership: Membership;
  readonly #housekeeper: Housekeeper;
  #config: Config;
  #rules: RuleIndex;
  #deaf = false;
  #state: 'new' | 'starting' | 'running' | 'stopping' | 'stopped' = 'new';
  #stopped: Promise<void> | null = null;

  /** @param config from `loadConfig`, `parseConfig` or `defineConfig` */
  constructor(config: Config, options: EngineOptions = {}) {
    this.#options = options;
    this.#config = config;
    this.#rules = new RuleIndex(config);
    if (options.telemetry !== undefined) this.#bus.subscribe(options.telemetry);
    this.#pool = createPool(config.database, workerConnections);
    this.#claimPool = createPool(config.database, claimConnections, 'off');
    const common = { telemetry: this.#bus.emit, isTransient };
    this.#membership = new Membership({
      ...common,
      openRegistry: (id) => createInstanceRegistry(this.#pool, id),
      newInstanceId: randomUUID,
      timeoutMs: () => this.#config.settings.instanceTimeoutMs,
      rulesVersion: () => this.#config.version,
      routing: () => this.#router.routing,
      onDeclaredDead: () => this.#dispatcher.forget(),
      onRescued: () => this.#dispatcher.wake(),
    });
    this.#dispatcher = new Dispatcher({
      ...common,
      queue: () => createDeliveryQueue({ durable: this.#pool, claims: this.#claimPool }, this.#membership.id),
      pollIntervalMs: () => this.#config.settings.pollIntervalMs,
      alive: () => this.#membership.alive(),
      newestRules: () => this.#membership.newestRules,
    });
    this.#router = new Router({
      ...common,
      openSession: () => openRoutingSession(this.#config.database, this.#config.settings.environment),
      rules: () => this.#rules,
      pollIntervalMs: () => this.#config.settings.pollIntervalMs,
      onDeliveries: () => this.#dispatcher.wake(),
    });
    this.#recorder = new ChannelRecorder({
      ...common,
      openLog: () => openNotificationLog(this.#config.database),
      onEvents: () => this.#router.wake(),
    });
    this.#housekeeper = new Housekeeper({
      ...common,
      keepHouse: () => keepHouse(this.#pool, this.#config.settings.retention),
      buryOrphans: () => this.#buryOrphans(),
      checkCapture: () => this.#checkCapture(),
    });
    this.#listener = this.#createListener();
  }

  /** @returns a function that unsubscribes */
  subscribe(subscriber: Telemetry): () => void {
    return this.#bus.subscribe(subscriber);
  }

  get config(): Config {
    return this.#config;
  }

  /**
   * Resolves when changes are being observed. Waits for a database that is away, until `stop`.
   * @throws UserError when waiting would not help: wrong login, no rights, an unknown table, a newer migration
   */
  async start(): Promise<void> {
    if (this.#state !== 'new') throw new Error('an engine starts once');
    this.#state = 'starting';
    const began = performance.now();
    try {
      if (!(await this.#awaitDatabase())) return;
      await this.#prepareDatabase();
      await this.#membership.join();
      this.#dispatcher.load(this.#config);
      this.#recorder.load(this.#config);
      await this.#listener.start();
      this.#recorder.start();
      this.#router.start();
      this.#dispatcher.start();
      this.#housekeeper.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#state = 'running';
    const { sources, observers } = this.#config;
    const tookMs = performance.now() - began;
    this.#bus.emit({ type: 'engine.started', sources: sources.size, observers: observers.size, tookMs });
    void this.#probeListener();
  }

  /**
   * Takes up new rules, all of them or none. `database` and `settings.listen` need a restart.
   * @throws ConfigError | UserError and keeps the old ones
   */
  async reload(config: Config): Promise<void> {
    if (config.database !== this.#config.database) {
      throw new UserError('`database:` changed: that needs a restart.', 2);
    }
    if (this.#options.apply !== false) await applyCapture(this.#pool, config);
    this.#config = config;
    this.#rules = new RuleIndex(config);
    this.#dispatcher.load(config);
    this.#recorder.load(config);
    await this.#listener.setChannels(channelsOf(config));
    this.#membership.beatSoon();
    this.#housekeeper.checkSoon();
    this.#bus.emit({ type: 'rules.loaded', version: config.version, observers: config.observers.size });
  }

  /**
   * Stops in the order in which work flows, so that nothing is claimed that can't be finished: attempts in flight get
   * `timeoutMs`, the others are handed back. Idempotent.
   */
  stop({ timeoutMs = 30_000, reason = 'asked to' }: { timeoutMs?: number; reason?: string } = {}): Promise<void> {
    this.#stopped ??= this.#stop(timeoutMs, reason);
    return this.#stopped;
  }

  async #stop(timeoutMs: number, reason: string): Promise<void> {
    this.#state = 'stopping';
    this.#bus.emit({ type: 'engine.stopping', reason });
    await this.#listener.stop();
    await this.#housekeeper.stop();
    await this.#recorder.stop();
    await this.#router.stop();
    await this.#dispatcher.stop(timeoutMs);
    // Best effort: when the database is away, the claims are taken over after the instance timeout.
    await this.#handBack().catch(() => {});
    await this.#membership.leave().catch(() => {});
    await Promise.all([this.#pool.end(), this.#claimPool.end()]);
    this.#state = 'stopped';
    this.#bus.emit({ type: 'engine.stopped' });
  }

  async #handBack(): Promise<void> {
    const queue = createDeliveryQueue({ durable: this.#pool, claims: this.#claimPool }, this.#membership.id);
    const count = await queue.release(null, 0);
    if (count > 0) this.#bus.emit({ type: 'delivery.released', count, reason: 'this instance stops' });
  }

  /** @throws when the database is away */
  async status(): Promise<EngineStatus> {
    const now = performance.now();
    return {
      ...(await readDatabaseStatus(this.#pool)),
      instance: { id: this.#membership.id, routing: this.#router.routing, rulesVersion: this.#config.version },
      destinations: this.#dispatcher.lanes.map((lane) => ({
        name: lane.destination.name,
        kind: lane.destination.kind,
        inFlight: lane.inFlight,
        waiting: lane.waiting,
        breaker: lane.breakerState(now),
      })),
    };
  }

  async readiness(): Promise<Readiness> {
    const reasons: string[] = [];
    if (this.#state !== 'running') reasons.push(this.#state === 'new' ? 'not started' : this.#state);
    if (!this.#listener.connected) reasons.push('the LISTEN connection is lost; changes are found by polling');
    if (this.#deaf) reasons.push('notifications do not arrive; changes are found by polling');
    if (!this.#membership.alive()) reasons.push('the heartbeat does not reach the database');
    for (const step of this.#housekeeper.drift) reasons.push(`capture: ${step}`);
    try {
      const { checkpoint } = await readDatabaseStatus(this.#pool);
      if ((checkpoint.lagMs ?? 0) > lagBoundMs)
        reasons.push(`routing is ${Math.round((checkpoint.lagMs ?? 0) / 1000)} s behind`);
    } catch (error) {
      reasons.push(`database: ${describeError(error)}`);
    }
    return { ready: reasons.length === 0, reasons };
  }

  /** @returns false when stopped meanwhile */
  async #awaitDatabase(): Promise<boolean> {
    const since = performance.now();
    for (let attempt = 1; this.#state === 'starting'; attempt++) {
      try {
        await this.#pool.query('select 1');
        if (attempt > 1) {
          this.#bus.emit({ type: 'database.reached', stage: 'start', afterMs: Math.round(performance.now() - since) });
        }
        return true;
      } catch (error) {
        if (!isTransient(error)) throw unreachable(this.#config.database, error);
        if (attempt === 1) {
          const { message } = unreachable(this.#config.database, error);
          this.#bus.emit({ type: 'database.unreachable', stage: 'start', message });
        }
        await new Promise((resolve) => setTimeout(resolve, Math.min(200 * attempt, 1_000)));
      }
    }
    return false;
  }

  async #prepareDatabase(): Promise<void> {
    if (this.#options.apply !== false) {
      await applyCapture(this.#pool, this.#config);
      return;
    }
    const client = await this.#pool.connect();
    try {
      const pending = await pendingMigrations(client);
      if (pending.length === 0) return;
      const names = pending.map((migration) => migration.name).join(', ');
      throw new UserError(`This database is not migrated (${names}): run \`pg-observers apply\` first.`);
    } catch (error) {
      if (sqlState(error) !== '42501') throw error;
      throw new UserError(`This role may not use the schema observers: ${describeError(error)}.`, 1, { cause: error });
    } finally {
      client.release();
    }
  }

  #createListener(): Listener {
    return createListener({
      connection: connectionConfig(this.#config.database, 'listener'),
      channels: channelsOf(this.#config),
      onNotification: (channel, payload) => {
        if (channel !== wakeChannel) return this.#recorder.hear(channel, payload);
        this.#router.wake();
        this.#dispatcher.wake();
      },
      // What was notified before is lost: look into the tables.
      onConnected: () => {
        this.#bus.emit({ type: 'listener.connected' });
        this.#router.wake();
        this.#dispatcher.wake();
      },
      onDisconnected: (error) => this.#bus.emit({ type: 'listener.disconnected', message: describeError(error) }),
      measureQueue: async () => {
        const { rows } = await this.#pool.query<{ usage: number }>('select pg_notification_queue_usage() as usage');
        return rows[0]?.usage ?? 0;
      },
    });
  }

  async #probeListener(): Promise<void> {
    if (!this.#listener.connected) return;
    const heard = await this.#listener
      .probe((channel, payload) => this.#pool.query('select pg_notify($1, $2)', [channel, payload]))
      .catch(() => true);
    this.#deaf = !heard && this.#listener.connected && this.#state === 'running';
    if (this.#deaf) this.#bus.emit({ type: 'listener.deaf' });
  }

  async #buryOrphans(): Promise<number> {
    if (!this.#membership.newestRules) return 0;
    return this.#membership.registry.buryOrphans([...this.#config.destinations.keys()]);
  }

  /** New partitions get their triggers unasked; anything else may be somebody's intention, and is reported. */
  async #checkCapture(): Promise<readonly string[]> {
    const config = this.#config;
    try {
      const { steps } = await planCapture(this.#pool, config);
      const isPart = (step: PlanStep) => step.kind === 'create' && step.reason.startsWith('missing on a part');
      if (this.#options.apply === false || !steps.some(isPart)) return steps.map(inWords);
      await applyCapture(this.#pool, config, undefined, isPart);
      return steps.filter((step) => !isPart(step)).map(inWords);
    } catch (error) {
      // A table that was dropped or renamed: readiness says so, and the other sources go on.
      if (error instanceof UserError) return error.message.split('\n');
      throw error;
    }
  }
}

const inWords = (step: PlanStep) => `${step.subject}: ${step.reason}`;

function channelsOf(config: Config): string[] {
  const channels = [...config.sources.values()].flatMap((source) =>
    source.kind === 'channel' ? [source.channel] : [],
  );
  return [wakeChannel, ...new Set(channels)];
}

/** The engine, ready to `start()`. */
export function createEngine(config: Config, options?: EngineOptions): Engine {
  return new Engine(config, options);
}
