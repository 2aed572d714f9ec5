/**
 * What must arrive where, computed from the changes the shop made and from nothing that pg-observers said: the rules of
 * observers.example.yaml once more, by hand. That the two agree is what "0 lost" means.
 */

export type Change =
  | { readonly kind: 'order placed' }
  | { readonly kind: 'order repriced' }
  | { readonly kind: 'order paid'; readonly id: string; readonly total: string; readonly email: string }
  | { readonly kind: 'order cancelled'; readonly id: string; readonly total: string; readonly was: string }
  | { readonly kind: 'customer signed up'; readonly name: string; readonly email: string }
  | { readonly kind: 'payment notified'; readonly payment: number }
  | { readonly kind: 'signup emitted'; readonly user: number; readonly plan: string };

/** One text per delivery, unique to it; the receivers describe what they got in the same words. */
export function expectedArrivals(change: Change): readonly string[] {
  switch (change.kind) {
    case 'order paid':
      if (Number(change.total) <= 1000) return [];
      return [
        `billing: order ${change.id} total ${change.total}`,
        `mail: ${change.email} Order ${change.id} is paid`,
        `slack: #sales Order *${change.id}* paid: ${change.total}`,
      ];
    case 'order cancelled':
      return change.was === 'paid' || Number(change.total) >= 500 ? [`ops: orders.update ${change.id}`] : [];
    case 'customer signed up':
      return [`mail: ${change.email} Welcome, ${change.name}`];
    case 'payment notified':
      return [`ops: payment ${change.payment}`];
    case 'signup emitted':
      return change.plan === 'pro' ? [`slack: #sales New pro user ${change.user}`] : [];
    default:
      return [];
  }
}
