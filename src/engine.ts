/**
 * The life of a process: starts the stages in order, takes up new rules, stops everything at once. How the stages are put
 * together stands in stages.ts.
 */

import { UserError } from './domain/errors.ts';
import type { Config } from './domain/rules.ts';
import type { Telemetry } from './domain/telemetry.ts';
import {
  type DestinationStatus,
  destinationsOf,
  type EngineStatus,
  pendingTenantsOf,
  type Readiness,
  statusOf,
  whyNotReady,
} from './engine-status.ts';
import { RuleIndex } from './pipeline/decide/rule-index.ts';
import { channelsOf, Stages } from './stages.ts';
import { TelemetryBus } from './telemetry/bus.ts';
import { applyCapture } from './transport/postgres/capture-plan.ts';
import { readCheckpoint } from './transport/postgres/checkpoint.ts';
import { createDeliveryQueue } from './transport/postgres/delivery-queue.ts';
import { requireMigrations } from './transport/postgres/migrations.ts';
import type { TenantPending } from './transport/postgres/pending-tenants.ts';

export type { DestinationStatus, EngineStatus, Readiness } from './engine-status.ts';

export interface EngineOptions {
  /** Migrate and install triggers before starting, and triggers of new partitions while running. Default true. */
  readonly apply?: boolean;
  /** Told of everything that happens; more can subscribe later. */
  readonly telemetry?: Telemetry;
  /**
   * Share of traces, 0 … 1, whose spans somebody who subscribed reports, as long as this engine lives. Webhooks then name the
   * span of their attempt in `traceparent`. Default null: nobody does, and what the application wrote is passed on as it is.
   * `settings.opentelemetry` alone doesn't count: it says where spans should go, not that anybody sends them.
   */
  readonly tracedShare?: number | null;
}

/** Notifications that do not arrive by then are not waited for. Milliseconds. */
const listenWithinMs = 1_500;

export class Engine {
  readonly #apply: boolean;
  readonly #bus = new TelemetryBus();
  readonly #stages: Stages;
  #config: Config;
  #rules: RuleIndex;
  #state: 'new' | 'starting' | 'running' | 'stopping' | 'stopped' = 'new';
  #stopped: Promise<void> | null = null;
  #reloading: Promise<void> = Promise.resolve();

  /** @param config from `loadConfig`, `parseConfig` or `defineConfig` */
  constructor(config: Config, { apply = true, telemetry, tracedShare = null }: EngineOptions = {}) {
    this.#apply = apply;
    this.#config = config;
    this.#rules = new RuleIndex(config);
    if (telemetry !== undefined) this.#bus.subscribe(telemetry);
    const current = { config: () => this.#config, rules: () => this.#rules };
    this.#stages = new Stages(current, { apply, tracedShare, telemetry: this.#bus.emit });
    // So that `status` says at once who routes.
    this.#bus.subscribe(({ type }) => {
      if (type === 'routing.acquired' || type === 'routing.lost') this.#stages.membership.beatSoon();
    });
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
    void this.#stages.wakeUpCalls.probe();
  }

  async #startStages(): Promise<void> {
    const stopped = () => this.#stopped !== null;
    await this.#stages.pools.ready(this.#bus.emit, stopped);
    if (stopped()) return;
    if (!this.#apply) await requireMigrations(this.#stages.pools.direct);
    else await applyCapture(this.#stages.pools.direct, this.#config);
    // Before anything is claimed: a copy of a database holds copies of the deliveries that were on their way.
    await readCheckpoint(this.#stages.pools.durable, this.#config.settings.environment);
    await this.#stages.membership.join();
    this.#stages.lifeline.watch(
      this.#stages.pools.directUrl,
      () => this.#stages.membership.silentMs(),
      () => this.#config.settings.instanceTimeoutMs,
    );
    this.#stages.dispatcher.load(this.#config);
    this.#stages.recorder.load(this.#config);
    await this.#stages.wakeUpCalls.start();
    this.#stages.recorder.start();
    await this.#stages.recorder.ready(listenWithinMs);
    this.#stages.router.start();
    this.#stages.dispatcher.start();
    this.#stages.housekeeper.start();
  }

  /**
   * Takes up new rules, all of them or none; one reload after the other. `database`, `settings.listen` and
   * `settings.opentelemetry` need a restart.
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
      throw new UserError('`database:` or `direct_database:` changed: that needs a restart.', 2, {
        code: 'PGO-RESTART',
      });
    }
    // The steps that may fail come first.
    if (this.#apply) await applyCapture(this.#stages.pools.direct, config);
    this.#stages.dispatcher.load(config);
    this.#config = config;
    // Before anything is queued by the new rules: an instance with older ones must know that these are newer, or it would
    // take what it doesn't know for removed. (Away, the database takes no deliveries either.)
    await this.#stages.membership.announce().catch(() => {});
    this.#rules = new RuleIndex(config);
    this.#stages.recorder.load(config);
    await this.#stages.wakeUpCalls.setChannels(channelsOf(config));
    await this.#stages.recorder.ready(listenWithinMs);
    this.#stages.membership.beatSoon();
    this.#stages.housekeeper.checkSoon();
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
    await this.#stages.lifeline.during(this.#stages.pools.claims, async () => {
      // At once, for they meet in tables only: no stage takes up anything new while another one is still ending.
      await Promise.all([
        this.#stages.dispatcher.stop(timeoutMs),
        this.#stages.housekeeper.stop(),
        this.#stopWhatOnlyOneDoes(),
      ]);
      // Best effort: when the database is away, the claims are taken over after the instance timeout.
      await this.#handBack().catch(() => {});
      await this.#stages.membership.leave().catch(() => {});
    });
    await this.#stages.lifeline.hangUp(this.#stages.pools.all);
    this.#state = 'stopped';
    this.#bus.emit({ type: 'engine.stopped' });
  }

  /** The ear first: what it hears until it is closed is still written down. */
  async #stopWhatOnlyOneDoes(): Promise<void> {
    await Promise.all([
      this.#stages.router.stop(),
      this.#stages.wakeUpCalls.stop().then(() => this.#stages.recorder.stop()),
    ]);
    await this.#stages.wakeUpCalls.leave('places');
  }

  async #handBack(): Promise<void> {
    const queue = createDeliveryQueue(this.#stages.pools, this.#stages.membership.id);
    const count = await queue.releaseUnknown([]);
    if (count > 0) this.#bus.emit({ type: 'delivery.released', count, reason: 'this instance stops' });
  }

  /** @throws when the database is away, when it is not migrated yet, and after `stop` */
  async status(): Promise<EngineStatus> {
    if (this.#state === 'stopped') throw new UserError('This engine is stopped.');
    return statusOf(this.#stages, this.#config.version);
  }

  /** Those with the most waiting; none where no source has tenants. @throws when the database is away */
  pendingTenants(most: number): Promise<readonly TenantPending[]> {
    return pendingTenantsOf(this.#stages, this.#config, most);
  }

  /** What this process has of each. */
  destinations(): readonly DestinationStatus[] {
    return destinationsOf(this.#stages);
  }

  get routing(): boolean {
    return this.#stages.router.routing;
  }

  /** What differs between the file and the triggers in the database, as seen within the last minute. */
  get drift(): readonly string[] {
    return this.#stages.housekeeper.drift;
  }

  /** For those who read the rules: what they can't take up is told to all who subscribed. */
  refuse(message: string): void {
    this.#bus.emit({ type: 'rules.refused', message });
  }

  /** Never rejects, and answers within a few seconds. */
  async readiness(): Promise<Readiness> {
    const reasons = this.#state === 'running' ? await whyNotReady(this.#stages) : [notRunning[this.#state]];
    return { ready: reasons.length === 0, reasons };
  }
}

const notRunning = {
  new: 'not started',
  starting: 'starting, or waiting for the database',
  stopping: 'stopping',
  stopped: 'stopped',
};

/** The engine, ready to `start()`. */
export function createEngine(config: Config, options?: EngineOptions): Engine {
  return new Engine(config, options);
}
