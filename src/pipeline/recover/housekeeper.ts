import type { Telemetry } from '../../domain/telemetry.ts';
import { StageLoop } from '../stage-loop.ts';

export interface HousekeeperOptions {
  /** Makes the coming partitions, drops the expired ones; says what it dropped and what it may not do. */
  readonly keepHouse: () => Promise<{ readonly dropped: readonly string[]; readonly refused: readonly string[] }>;
  /** Dead-letters what is queued for destinations that no rule names any more. */
  readonly buryOrphans: () => Promise<number>;
  /** What differs between the file and the triggers in the database, in words; repairs what may be repaired unasked. */
  readonly checkCapture: () => Promise<readonly string[]>;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

const everyMs = 60_000;

/** Stage 4, the slow part: retention, orphans, drift; once a minute. */
export class Housekeeper {
  readonly #loop: StageLoop;
  readonly #options: HousekeeperOptions;
  #drift: readonly string[] = [];

  constructor(options: HousekeeperOptions) {
    this.#options = options;
    this.#loop = new StageLoop({
      name: 'housekeeping',
      round: () => this.#round(),
      telemetry: options.telemetry,
      isTransient: options.isTransient,
    });
  }

  /** Triggers that are missing, disabled or out of date, and upkeep that this role may not do, as last seen. */
  get drift(): readonly string[] {
    return this.#drift;
  }

  start(): void {
    this.#loop.start();
  }

  checkSoon(): void {
    this.#loop.ring();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #round(): Promise<number> {
    const { keepHouse, buryOrphans, checkCapture, telemetry } = this.#options;
    const { dropped, refused } = await keepHouse();
    for (const partition of dropped) telemetry({ type: 'retention.dropped', partition });
    await buryOrphans();
    const drift = [...refused, ...(await checkCapture())];
    if (drift.length > 0 && drift.join() !== this.#drift.join()) telemetry({ type: 'capture.drift', steps: drift });
    this.#drift = drift;
    return everyMs;
  }
}
