import type { ClaimedDelivery, Handover, NewDelivery } from '../contract.ts';
import { laneKey } from './decision-sql.ts';
import { detached } from './event-page.ts';
import { bytesInMemory, inlineEventBytes } from './event-row.ts';

/** Id and lease of a delivery that was claimed as it was queued. */
export type HandedOver = readonly [id: string, lease: string];

/** What a claim of them would have brought. */
export function toClaims({ leases }: Handover, handedOver: readonly HandedOver[]): ClaimedDelivery[] {
  const ids = new Map(handedOver.map(([id, lease]) => [lease, id]));
  return [...leases].flatMap(([made, lease]) => {
    const id = ids.get(lease);
    return id === undefined ? [] : [toClaim(made, id, lease)];
  });
}

function toClaim(
  { stored, event, observer, action, destination, orderingKey, ruleVersion }: NewDelivery,
  id: string,
  lease: string,
): ClaimedDelivery {
  const delivery = {
    id,
    lease,
    observer,
    action,
    destination,
    tenant: event.tenant,
    orderingKey: laneKey(orderingKey),
    attempts: 0,
    deadLetterId: null,
    ruleVersion,
    queuedAt: performance.now(),
  };
  const bytes = bytesInMemory(stored);
  return { delivery, event: bytes <= inlineEventBytes ? detached(stored) : null, bytes };
}
