import type { Telemetry } from '../../domain/telemetry.ts';
import type { BreakerReport, DestinationHold, InstanceRegistry } from '../../transport/contract.ts';
import { StageLoop } from '../stage-loop.ts';

export interface MembershipOptions {
  readonly openRegistry: (instance: string) => InstanceRegistry;
  readonly newInstanceId: () => string;
  readonly timeoutMs: () => number;
  readonly rulesVersion: () => string;
  readonly routing: () => boolean;
  /** Those that are not closed. */
  readonly breakers: () => readonly BreakerReport[];
  /** This process was silent for so long that others took its claims. */
  readonly onDeclaredDead: () => void;
  /** Claims of other instances were taken over. */
  readonly onRescued: () => void;
  /** The database was away, or did not hear this process for long: what was read there before may not hold any more. */
  readonly onDoubt: () => void;
  /** Which destinations are sent nothing. @param askedAt in the time of performance.now() */
  readonly onHolds: (holds: readonly DestinationHold[], askedAt: number) => void;
  /** Another process lost its sessions, and with them what only one may do. */
  readonly onEvicted: () => void;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/** How many times as long one that is alone leaves it between two sweeps. */
const sweepsAlone = 6;

/**
 * Stage 4, the living and the dead: says that this process is alive, and takes over the claims of those that stopped
 * saying so.
 *
 * A process that was taken for dead (SIGSTOP, a sleeping machine, a lost network) begins a new life under a new id: what
 * it claimed before belongs to others, and its late settlements are fenced off by their leases. Whether it was, the
 * answer to its heartbeat tells. Its own clock can't: a heartbeat that set out in time may arrive too late.
 */
export class Membership {
  readonly #options: MembershipOptions;
  readonly #loop: StageLoop;
  #id: string;
  #registry: InstanceRegistry;
  #beatAt = Number.NEGATIVE_INFINITY;
  #newestRules = true;
  #othersLate = false;
  #othersAlive = false;
  /** Since the last sweep somebody else lived, or was said to. */
  #hadCompany = true;
  #sweptAt = Number.NEGATIVE_INFINITY;
  #left = false;
  #lastBeat: Promise<void> = Promise.resolve();
  /** Asked for, and not begun. */
  #nextBeat: Promise<boolean> | null = null;

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#id = options.newInstanceId();
    this.#registry = options.openRegistry(this.#id);
    this.#loop = new StageLoop({
      name: 'recover',
      round: () => this.#round(),
      recover: async () => options.onDoubt(),
      telemetry: options.telemetry,
      isTransient: options.isTransient,
    });
  }

  get id(): string {
    return this.#id;
  }

  get registry(): InstanceRegistry {
    return this.#registry;
  }

  /** As of the last heartbeat. */
  get othersAlive(): boolean {
    return this.#othersAlive;
  }

  /** As of the last heartbeat. */
  get newestRules(): boolean {
    return this.#newestRules;
  }

  /**
   * The same, asked anew: whoever is about to say that a rule is gone must not miss rules loaded a moment ago. Callers
   * that come while one question waits for another one's answer share it.
   * @throws when the transport is away
   */
  confirmNewestRules(): Promise<boolean> {
    this.#nextBeat ??= this.#lastBeat.then(() => {
      this.#nextBeat = null;
      const beat = this.#beat();
      this.#lastBeat = beat.catch(() => {});
      return beat.then(() => this.#newestRules);
    });
    return this.#nextBeat;
  }

  /** Tells the others which rules this instance has now. @throws when the transport is away */
  async announce(): Promise<void> {
    await this.confirmNewestRules();
  }

  /** False when others may have declared this process dead: a fifth of the timeout is kept as a margin. */
  alive(): boolean {
    return this.silentMs() < this.#options.timeoutMs() * 0.8;
  }

  /** Milliseconds since the last heartbeat that the database answered. */
  silentMs(): number {
    return performance.now() - this.#beatAt;
  }

  /** Resolves after the first heartbeat. */
  async join(): Promise<void> {
    if (this.#left) return;
    await this.confirmNewestRules();
    this.#loop.start();
  }

  /** A heartbeat at once, e.g. after new rules were loaded. */
  beatSoon(): void {
    this.#loop.ring();
  }

  /** Also while joining: the row of an instance that is gone would stand there until its heartbeat is missed. */
  async leave(): Promise<void> {
    this.#left = true;
    await this.#loop.stop();
    await this.#nextBeat?.catch(() => {});
    await this.#lastBeat;
    await this.#registry.deregister();
  }

  async #round(): Promise<number> {
    const timeoutMs = this.#options.timeoutMs();
    await this.confirmNewestRules();
    // Else now and then, for claims of an instance that has no row at all: two statements less in every beat. Alone there is
    // hardly anybody to leave such.
    const sweepAt = this.#sweptAt + timeoutMs * (this.#hadCompany ? 1 : sweepsAlone);
    if (this.#othersLate || performance.now() >= sweepAt) await this.#sweep(timeoutMs);
    return timeoutMs / 4;
  }

  /** Takes over from those that are silent. */
  async #sweep(timeoutMs: number): Promise<void> {
    this.#hadCompany = this.#othersAlive || this.#othersLate;
    const sessions = await this.#registry.evict(timeoutMs);
    if (sessions > 0) this.#evicted(sessions);
    const count = await this.#registry.rescue(timeoutMs);
    if (count > 0) {
      this.#options.telemetry({ type: 'delivery.rescued', count });
      this.#options.onRescued();
    }
    this.#sweptAt = performance.now();
  }

  #evicted(sessions: number): void {
    this.#options.telemetry({ type: 'instance.evicted', sessions });
    this.#options.onEvicted();
  }

  async #beat(): Promise<void> {
    const silentMs = this.silentMs();
    // Before the statement, not after: the database may have counted from its beginning.
    const at = performance.now();
    const { newestRules, declaredDead, othersLate, othersAlive, holds } = await this.#registry.heartbeat(
      this.#options.rulesVersion(),
      this.#options.routing(),
      this.#options.timeoutMs(),
      this.#options.breakers(),
    );
    if (declaredDead) {
      await this.#beginAnew(silentMs);
      return this.#beat();
    }
    // Before it counts as alive again, and begins something.
    if (Number.isFinite(silentMs) && !this.alive()) this.#options.onDoubt();
    this.#beatAt = at;
    this.#newestRules = newestRules;
    this.#othersLate = othersLate;
    this.#othersAlive = othersAlive;
    this.#hadCompany ||= othersAlive || othersLate;
    this.#options.onHolds(holds, at);
  }

  async #beginAnew(silentMs: number): Promise<void> {
    const former = this.#registry;
    this.#id = this.#options.newInstanceId();
    this.#registry = this.#options.openRegistry(this.#id);
    this.#hadCompany = true;
    this.#options.onDeclaredDead();
    this.#options.telemetry({ type: 'instance.suspended', silentMs: Math.round(silentMs) });
    // Its claims are free for everybody at once.
    await former.deregister();
  }
}
