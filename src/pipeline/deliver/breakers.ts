import type { Telemetry } from '../../domain/telemetry.ts';
import type { BreakerReport } from '../../transport/contract.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { DestinationLane } from './destination-lane.ts';
import type { DestinationLanes } from './destination-lanes.ts';

/** Which breakers of this process are not closed, and says so when one changes. */
export class Breakers {
  readonly #telemetry: Telemetry;
  /** Those that are not closed. */
  readonly #reports = new Map<CircuitBreaker, BreakerReport>();

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  get reports(): readonly BreakerReport[] {
    return [...this.#reports.values()];
  }

  /** @returns whether it is in another state than at the last call */
  look(breaker: CircuitBreaker, destination: string, tenant: string | null, now: number): boolean {
    const state = breaker.state(now);
    const former = this.#reports.get(breaker)?.state ?? 'closed';
    if (state === former) return false;
    const openForMs = state === 'open' ? Math.round(breaker.waitMs(now)) : null;
    if (state === 'closed') this.#reports.delete(breaker);
    else this.#reports.set(breaker, { destination, tenant, state });
    this.#telemetry({ type: 'breaker.changed', destination, tenant, state, openForMs });
    return true;
  }

  /** Time alone makes an open one half-open. */
  lookAgain(now: number): void {
    for (const [breaker, { destination, tenant }] of [...this.#reports]) this.look(breaker, destination, tenant, now);
  }

  /** Forgets those that new rules replaced. */
  load(lanes: DestinationLanes, now: number): void {
    for (const [breaker, report] of this.#reports) {
      const lane = lanes.get(report.destination);
      if (lane === undefined || breakerOf(lane, report.tenant, now) !== breaker) this.#reports.delete(breaker);
    }
  }
}

function breakerOf(lane: DestinationLane, tenant: string | null, now: number): CircuitBreaker | null {
  return lane.breaker ?? lane.tenants.of(tenant, now)?.breaker ?? null;
}
