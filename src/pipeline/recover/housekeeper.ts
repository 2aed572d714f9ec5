import type { Telemetry } from '../../domain/telemetry.ts';
import type { Orphans, RebuiltQueue } from '../../transport/contract.ts';
import { StageLoop } from '../stage-loop.ts';

export interface HousekeeperOptions {
  /** Makes the coming partitions; says what it may not do. */
  readonly keepHouse: () => Promise<{ readonly refused: readonly string[] }>;
  /**
   * Archives and drops the days that are due; may take long, and ends soon when aborted. Says what somebody must do something about.
   * @param onStep told of each day
   */
  readonly enforceRetention: (
    signal: AbortSignal,
    onStep: (step: RetentionStep) => void,
  ) => Promise<{ readonly complaints: readonly string[] }>;
  /** Dead-letters some of what is queued for destinations that no rule names any more; nothing when there is none. */
  readonly buryOrphans: () => Promise<readonly Orphans[]>;
  /** What differs between the file and the triggers in the database, in words; repairs what may be repaired unasked. */
  readonly checkCapture: () => Promise<readonly string[]>;
  /** For `status`, which asks no instance. */
  readonly keepComplaints: (complaints: readonly string[]) => Promise<void>;
  /** Rebuilds the indexes of the queue when they are far too large; null when they are not. Ends soon when aborted. */
  readonly keepQueueSmall: (signal: AbortSignal) => Promise<RebuiltQueue | null>;
  readonly telemetry: Telemetry;
  readonly isTransient: (error: unknown) => boolean;
}

/** A day that was due. */
export interface RetentionStep {
  readonly partition: string;
  readonly result: string;
  readonly archived: { readonly file: string; readonly rows: number; readonly bytes: number } | null;
}

const everyMs = 60_000;

/** Stage 4, the slow part: retention, orphans, drift; once a minute. */
export class Housekeeper {
  readonly #loop: StageLoop;
  readonly #options: HousekeeperOptions;
  readonly #stopping = new AbortController();
  #drift: readonly string[] = [];
  #hindrances: readonly string[] = [];

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

  /** What somebody must do something about, as last seen: drift, and why the log is not kept as the settings say. */
  get complaints(): readonly string[] {
    return [
      ...this.#drift.map((step) => `capture: ${step}`),
      ...this.#hindrances.map((hindrance) => `retention: ${hindrance}`),
    ];
  }

  start(): void {
    this.#loop.start();
  }

  checkSoon(): void {
    this.#loop.ring();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
  }

  async #round(): Promise<number> {
    const { keepHouse, checkCapture, keepComplaints, telemetry } = this.#options;
    const { refused } = await keepHouse();
    await this.#buryOrphans();
    const drift = [...refused, ...(await checkCapture())];
    if (drift.length > 0 && drift.join() !== this.#drift.join()) telemetry({ type: 'capture.drift', steps: drift });
    this.#drift = drift;
    await keepComplaints(this.complaints);
    // Last: an archive takes its time.
    await this.#retain();
    await keepComplaints(this.complaints);
    await this.#keepQueueSmall();
    return everyMs;
  }

  async #buryOrphans(): Promise<void> {
    const { buryOrphans, telemetry } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const buried = await buryOrphans();
      for (const orphans of buried) telemetry({ type: 'delivery.orphaned', ...orphans });
      if (buried.length === 0) return;
    }
  }

  async #retain(): Promise<void> {
    const { enforceRetention, telemetry } = this.#options;
    const { signal } = this.#stopping;
    try {
      const { complaints } = await enforceRetention(signal, (step) => this.#tell(step));
      if (complaints.length > 0 && complaints.join() !== this.#hindrances.join())
        telemetry({ type: 'retention.hindered', complaints });
      this.#hindrances = complaints;
    } catch (error) {
      // The day that was at hand stays.
      if (!signal.aborted) throw error;
    }
  }

  async #keepQueueSmall(): Promise<void> {
    const { keepQueueSmall, telemetry } = this.#options;
    const rebuilt = await keepQueueSmall(this.#stopping.signal);
    if (rebuilt !== null) telemetry({ type: 'queue.rebuilt', ...rebuilt });
  }

  #tell({ partition, result, archived }: RetentionStep): void {
    const { telemetry } = this.#options;
    if (archived !== null) {
      const { file, rows, bytes } = archived;
      telemetry({ type: 'retention.archived', partition, file, rows, bytes });
    }
    if (result === 'dropped') telemetry({ type: 'retention.dropped', partition });
  }
}
