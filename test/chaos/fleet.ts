import type { FaultLog } from './fault-log.ts';
import { Instance, type InstanceOptions, type Said } from './instance.ts';

/** All instances of a run, and what they said that matters. */
export class Fleet {
  readonly instances: readonly Instance[];
  readonly #faults: FaultLog;
  readonly #said: Said[] = [];
  #kills = 0;

  constructor(options: readonly InstanceOptions[], faults: FaultLog) {
    this.#faults = faults;
    this.instances = options.map((one) => new Instance(one));
    for (const instance of this.instances) instance.onSaid((said) => this.#remember(said));
  }

  /** From 1. @throws RangeError */
  instance(number: number): Instance {
    const instance = this.instances[number - 1];
    if (instance === undefined) throw new RangeError(`no instance ${number}`);
    return instance;
  }

  get router(): Instance | null {
    return this.instances.find(({ routing }) => routing) ?? null;
  }

  /** Events of routing and lives, and everything that is an error. */
  get said(): readonly Said[] {
    return this.#said;
  }

  /** SIGKILLs so far. */
  get kills(): number {
    return this.#kills;
  }

  get maxRssMb(): number {
    return Math.max(0, ...this.instances.map(({ maxRssMb }) => maxRssMb));
  }

  /** Resolves when each has started observing. */
  async startAll(): Promise<void> {
    await Promise.all(
      this.instances.map(async (instance) => {
        const started = instance.says('it observes', ({ event }) => event === 'engine.started', 60_000);
        instance.start();
        await started;
      }),
    );
  }

  /** SIGKILL, and again at once. Resolves when it is dead and the new one is on its way. */
  async kill(instance: Instance): Promise<void> {
    const routed = this.#routedBeforeOthers(instance);
    // Late ones, too: what it had written to a socket arrives after its death.
    await this.#faults.during(
      { kind: 'kill', permits: 'late repeats', instance: instance.number, routed },
      async () => {
        await instance.end('SIGKILL');
        await socketsRead();
      },
    );
    this.#kills += 1;
    instance.start();
  }

  /** SIGTERM, then again. @returns how it ended: `status 0` */
  async restart(instance: Instance): Promise<string> {
    const { number, routing } = instance;
    const how = await this.#faults.during(
      { kind: 'restart', permits: 'nothing', instance: number, routed: routing },
      () => instance.end('SIGTERM'),
    );
    const started = instance.says('it observes', ({ event }) => event === 'engine.started', 60_000);
    instance.start();
    await started;
    return how;
  }

  /** SIGSTOP, and SIGCONT when `meanwhile` is over. */
  async pause(instance: Instance, meanwhile: () => Promise<unknown>): Promise<void> {
    const { number, routing } = instance;
    await this.#faults.during(
      { kind: 'pause', permits: 'late repeats', wakes: true, instance: number, routed: routing },
      async () => {
        instance.pause();
        await meanwhile();
        instance.resume();
      },
    );
  }

  /** What is stopped goes on, and what is dead lives. */
  heal(): void {
    for (const instance of this.instances) {
      if (instance.paused) instance.resume();
      instance.start();
    }
  }

  /** SIGTERM to all. @returns how each ended */
  stopAll(): Promise<readonly string[]> {
    return Promise.all(this.instances.map((instance) => instance.end('SIGTERM')));
  }

  async close(): Promise<void> {
    await Promise.all(this.instances.map((instance) => instance.close()));
  }

  #routedBeforeOthers(instance: Instance): boolean {
    return instance.routing && this.instances.some((other) => other !== instance && other.observing && !other.paused);
  }

  #remember(said: Said): void {
    const matters = /^(routing|engine|harness|delivery|instance|listener|database|rules|breaker|stage)\./.test(
      said.event,
    );
    if (said.event === 'instance.suspended') this.#starved(said);
    if (matters || said.level === 'error' || said.level === 'stderr') this.#said.push(said);
  }

  /** It was silent for longer than the timeout: because we paused it, or because the machine had no time for it. */
  #starved({ instance, at, message }: Said): void {
    const silentMs = Number(/(\d+) ms/.exec(message)?.[1] ?? 0);
    this.#faults.add({ kind: 'silence', permits: 'late repeats', instance, startAt: at - silentMs, endAt: at });
  }
}

/**
 * What a dead process had written is in the sockets of this one, and counts as of the fault: on a busy machine it is read
 * 0.1 s after the death. Turns of the event loop, each of which reads what is there; not a time, which is never long enough.
 */
async function socketsRead(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
