import type { Config } from './domain/rules.ts';
import type { Stages } from './stages.ts';
import { describeError } from './transport/postgres/failures.ts';
import { inTime } from './transport/postgres/lifeline.ts';
import { readPendingTenants, type TenantPending } from './transport/postgres/pending-tenants.ts';
import { type DatabaseStatus, readDatabaseStatus, readRoutingLag } from './transport/postgres/status.ts';

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

/** Routing may lag this much before the instance says it is not ready. Milliseconds. */
const lagBoundMs = 60_000;

/** @throws when the database is away or not migrated yet */
export async function statusOf(stages: Stages, rulesVersion: string): Promise<EngineStatus> {
  return {
    ...(await inTime(readDatabaseStatus(stages.pools.durable))),
    instance: { id: stages.membership.id, routing: stages.router.routing, rules_version: rulesVersion },
    destinations: destinationsOf(stages),
  };
}

/** Those with the most waiting; asked only where a source names tenants. @throws when the database is away */
export async function pendingTenantsOf(
  stages: Stages,
  config: Config,
  most: number,
): Promise<readonly TenantPending[]> {
  const named = [...config.sources.values()].some(
    (source) => source.kind === 'topic' || (source.kind === 'table' && source.tenant !== null),
  );
  return named ? inTime(readPendingTenants(stages.pools.durable, most)) : [];
}

/** What this process has of each. */
export function destinationsOf({ dispatcher }: Stages): readonly DestinationStatus[] {
  const now = performance.now();
  return dispatcher.lanes.map((lane) => ({
    name: lane.destination.name,
    kind: lane.destination.kind,
    state: lane.state(now),
    in_flight: lane.inFlight,
    waiting: lane.waiting,
    breaker: lane.breakerState(now),
  }));
}

/** Why changes are not observed as they should be, though it runs; empty: they are. Never rejects. */
export async function whyNotReady({
  wakeUpCalls,
  recorder,
  membership,
  housekeeper,
  pools,
}: Stages): Promise<string[]> {
  const reasons = [wakeUpCalls.complaint(), recorder.complaint()].filter((reason) => reason !== null);
  if (!membership.alive()) reasons.push('the heartbeat does not reach the database');
  reasons.push(...housekeeper.complaints);
  try {
    const { lagMs } = await inTime(readRoutingLag(pools.durable));
    if ((lagMs ?? 0) > lagBoundMs) reasons.push(`routing is ${Math.round((lagMs ?? 0) / 1000)} s behind`);
  } catch (error) {
    reasons.push(`database: ${describeError(error)}`);
  }
  return reasons;
}
