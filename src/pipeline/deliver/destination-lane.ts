import type { DestinationClient } from '../../actions/contract.ts';
import { gatheringOf } from '../../domain/gathering.ts';
import type { Destination } from '../../domain/rules.ts';
import type { ClaimedDelivery, ClaimWish, TenantsSeen } from '../../transport/contract.ts';
import { type BreakerState, CircuitBreaker } from './circuit-breaker.ts';
import { Gatherer } from './gatherer.ts';
import { LaneTenants } from './lane-tenants.ts';
import { LastLook } from './last-look.ts';
import { alike } from './tenant-lane.ts';
import type { TenantRates } from './tenant-rates.ts';
import { TokenBucket } from './token-bucket.ts';
import type { Turn } from './turn.ts';
import { WaitingLine } from './waiting-line.ts';

/**
 * So much work is claimed ahead, measured by how fast this destination takes it: a fast one never waits for a claim's
 * round trip, and of a slow one nothing is hoarded that another instance could begin now. Milliseconds.
 */
const prefetchMs = 50;
const longestPrefetch = 500;
/** Weight of the newest attempt in the moving average of durations. */
const newest = 0.1;

/** What this process has of one destination: its client, what is in flight, what is claimed and waits, and its limits. */
export class DestinationLane {
  #destination: Destination;
  #client: DestinationClient;
  readonly #line = new WaitingLine();
  readonly #tenants: LaneTenants;
  #breaker: CircuitBreaker | null;
  #bucket: TokenBucket | null;
  /** null: each delivery is a request. */
  #gatherer: Gatherer | null;
  #inFlight = 0;
  /** Places for claims that are on their way. */
  #reserved = 0;
  /** Moving average; null before the first attempt has ended. Milliseconds. */
  #attemptMs: number | null = null;
  #heldUntil = Number.NEGATIVE_INFINITY;
  readonly #lastLook = new LastLook();

  constructor(destination: Destination, client: DestinationClient, rates: TenantRates, now: number) {
    this.#destination = destination;
    this.#client = client;
    this.#tenants = new LaneTenants(destination, rates, now);
    this.#breaker = breakerOf(destination);
    this.#bucket = bucketOf(destination, now);
    this.#gatherer = gathererOf(destination);
  }

  get destination(): Destination {
    return this.#destination;
  }

  get client(): DestinationClient {
    return this.#client;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get waiting(): number {
    return this.#line.size;
  }

  get gatherer(): Gatherer | null {
    return this.#gatherer;
  }

  get tenants(): LaneTenants {
    return this.#tenants;
  }

  /** Of the whole destination; null: it has none, or each tenant has one. */
  get breaker(): CircuitBreaker | null {
    return this.#breaker;
  }

  /** Nothing begins before that, whatever else would permit it. @param until in the time of performance.now(); Infinity: until told otherwise */
  hold(until: number): void {
    this.#heldUntil = until;
  }

  isHeld(now: number): boolean {
    return now < this.#heldUntil;
  }

  state(now: number): 'enabled' | 'paused' | 'disabled' {
    if (!this.isHeld(now)) return 'enabled';
    return this.#heldUntil === Number.POSITIVE_INFINITY ? 'disabled' : 'paused';
  }

  breakerState(now: number): BreakerState {
    return this.#breaker?.state(now) ?? 'closed';
  }

  /**
   * Takes up new rules. What is in flight ends on the former client and keeps its place, so that no reload
   * lets more through than `concurrency`; a breaker and a limit that did not change keep what they know.
   */
  load(destination: Destination, now: number): void {
    const former = this.#destination;
    this.#destination = destination;
    if (!alike(former.circuitBreaker, destination.circuitBreaker)) this.#breaker = breakerOf(destination);
    if (!alike(former.rateLimit, destination.rateLimit)) this.#bucket = bucketOf(destination, now);
    if (!alike(gatheringOf(former), gatheringOf(destination))) this.#gatherer = gathererOf(destination);
    this.#tenants.load(destination, now);
  }

  /** @returns the former client, to be closed */
  reconnect(client: DestinationClient): DestinationClient {
    const former = this.#client;
    this.#client = client;
    return former;
  }

  /** How many deliveries to claim for it now. */
  wanted(now: number): number {
    const { concurrency } = this.#destination;
    const waiting = this.#line.size;
    if (this.#gatherer !== null) {
      const requests = Math.min(concurrency - this.#inFlight, this.#permitted(now));
      return waiting > 0 ? 0 : this.#gatherer.slots(requests, now);
    }
    const prefetch = this.#prefetch(concurrency);
    const room = concurrency + prefetch - this.#inFlight - waiting - this.#reserved;
    // Asking for one at a time is a round trip per event: wait until half of the prefetch is used up.
    if (room < prefetch / 2 && waiting > 0) return 0;
    return Math.max(0, Math.min(room, this.#permitted(now) - waiting - this.#reserved));
  }

  /** The same as a wish, shared out to its tenants when there may be some; null: nothing now. */
  wish(now: number): ClaimWish | null {
    this.#gatherer?.asks(now);
    const slots = this.wanted(now);
    if (slots === 0) return null;
    const wish = { destination: this.#destination.name, slots, gather: this.#gatherer?.wish ?? null };
    if (!this.#lastLook.mayHaveTenants(now)) return { ...wish, turns: null };
    const most = this.#tenants.most * this.#perRequest;
    const rooms = new Map<string | null, number>();
    for (const [tenant] of this.#tenants) {
      const room = this.#roomOf(tenant, now) * this.#perRequest;
      if (room < slots || most < slots) rooms.set(tenant, Math.min(room, slots));
    }
    return { ...wish, turns: { after: this.#lastLook.lastTurn, most: Math.min(most, slots), rooms } };
  }

  /** @param got how many of those it wished for */
  looked(look: number, wish: ClaimWish, got: number, seen: TenantsSeen | undefined, now: number): void {
    this.#gatherer?.looked(got, now);
    this.#lastLook.found(look, wish, got, seen, now);
  }

  /** The queue has nothing for it since that look, those aside whom their own limits keep there. */
  isEmpty(look: number): boolean {
    return this.#lastLook.isEmpty(look);
  }

  /** Whether a new delivery of this tenant would pass by an older one, and whether there is room for it. */
  takesNew(tenant: string | null, look: number, now: number): boolean {
    if (this.#lastLook.mayHaveOf(tenant, look) || this.#gatherer !== null) return false;
    return this.#roomOf(tenant, now) > 0;
  }

  /** Whether one more may be claimed now that an attempt of this tenant ended. */
  hasRoomAfter(tenant: string | null, look: number, now: number): boolean {
    return this.#lastLook.mayHaveOf(tenant, look) && this.wanted(now) > 0;
  }

  /** @param places to keep free, or when negative no longer */
  reserve(tenant: string | null, places: number, now: number): void {
    this.#reserved += places;
    const lane = this.#tenants.of(tenant, now);
    if (lane !== null) lane.reserved += places;
  }

  /** Milliseconds until its limits let something through; 0 when nothing but its places limits it. */
  waitMs(now: number): number {
    const limitedMs = Math.max(this.#breaker?.waitMs(now) ?? 0, this.#bucket?.waitMs(now) ?? 0);
    return Math.max(this.#heldUntil - now, limitedMs, this.#gatherer?.waitMs(now) ?? 0);
  }

  /** The same of its tenants of which something waits, the least; 0: there is room for one now. Infinity when only places are missing. */
  tenantsWaitMs(now: number): number {
    let least = this.lineWaitMs(now);
    for (const tenant of this.#lastLook.heldBack) {
      const waitMs = this.#tenants.of(tenant, now)?.waitMs(now) ?? 0;
      if (waitMs > 0) least = Math.min(least, waitMs);
      // Since it was asked for: the answer took longer than its next token.
      else if (this.#roomOf(tenant, now) > 0) return 0;
    }
    return least;
  }

  /** The same of what is claimed: of lanes that share a tenant's rate one takes the token. Whoever leaves a place looks again. */
  lineWaitMs(now: number): number {
    const waitMs = this.#line.size === 0 ? Number.POSITIVE_INFINITY : this.#tenants.waitMs(this.#line.tenants, now);
    return waitMs > 0 || this.#hasPlace(now) ? waitMs : Number.POSITIVE_INFINITY;
  }

  add(claimed: ClaimedDelivery, now: number): void {
    if (claimed.delivery.tenant !== null) this.#lastLook.sawTenant(now);
    this.#line.add(claimed);
  }

  /** The next in its waiting line that may begin as far as its tenant is concerned. */
  head(now: number): ClaimedDelivery | undefined {
    return this.#line.head((tenant) => this.#tenants.mayBegin(tenant, now));
  }

  /** The next delivery to attempt, or null when it has no free place, no permission or nothing to do. */
  next(now: number): Turn | null {
    if (this.#line.size === 0 || !this.#hasPlace(now)) return null;
    const claimed = this.head(now);
    if (claimed === undefined) return null;
    this.#line.take(claimed);
    const others = this.#gatherer?.takeWith(claimed, this.#line) ?? alone;
    this.#inFlight += 1;
    this.#bucket?.take(now);
    const tenant = this.#tenants.of(claimed.delivery.tenant, now);
    const ofTenant = tenant?.begins(now) ?? 0;
    const breaker = this.#breaker ?? tenant?.breaker ?? null;
    return { claimed, others, startedAt: now, breaker, phase: this.#breaker?.started(now) ?? ofTenant, tenant };
  }

  /** @param failed whether the receiver failed; null: it was not asked */
  finished({ breaker, phase, tenant, startedAt }: Turn, failed: boolean | null, now: number): void {
    this.#inFlight -= 1;
    if (tenant !== null) tenant.inFlight -= 1;
    breaker?.finished(failed, phase, now);
    if (failed === null) return;
    const tookMs = now - startedAt;
    this.#attemptMs = this.#attemptMs === null ? tookMs : this.#attemptMs + (tookMs - this.#attemptMs) * newest;
  }

  /** Of a turn: what does not go in its request, to go in another one. */
  putBack(found: readonly (readonly [ClaimedDelivery, key: string])[]): void {
    this.#gatherer?.putBack(found, this.#line);
  }

  /** Empties the waiting line, e.g. to hand the claims back. */
  drain(): ClaimedDelivery[] {
    return this.#line.trim(0);
  }

  /** Takes out of the waiting line what may not begin before long: more than a breaker lets through, or all when it is held. */
  surplus(now: number): ClaimedDelivery[] {
    if (this.#line.size === 0) return [];
    if (this.isHeld(now)) return this.drain();
    const permits = (this.#breaker?.permits(now) ?? Number.POSITIVE_INFINITY) * this.#perRequest;
    if (permits < this.#line.size) return this.#line.trim(permits);
    if (this.#destination.circuitBreaker?.per !== 'tenant') return [];
    return [...this.#line.tenants].flatMap((tenant) => {
      const requests = this.#tenants.of(tenant, now)?.breaker?.permits(now) ?? Number.POSITIVE_INFINITY;
      const most = requests * this.#perRequest;
      return most < this.#line.of(tenant) ? this.#line.cut(tenant, most) : [];
    });
  }

  /** How many to claim for one tenant, as far as it is concerned. */
  #roomOf(tenant: string | null, now: number): number {
    const lane = this.#tenants.of(tenant, now);
    if (lane === null) return Number.POSITIVE_INFINITY;
    return lane.room(this.#line.of(tenant), (places) => this.#prefetch(places), now);
  }

  /** Deliveries in one request, at most. */
  get #perRequest(): number {
    return this.#gatherer?.worth ?? 1;
  }

  #prefetch(concurrency: number): number {
    if (this.#attemptMs === null) return 0;
    return Math.min(longestPrefetch, Math.floor((concurrency * prefetchMs) / Math.max(this.#attemptMs, 1)));
  }

  #hasPlace(now: number): boolean {
    return this.#inFlight < this.#destination.concurrency && this.#permitted(now) >= 1;
  }

  #permitted(now: number): number {
    if (this.isHeld(now)) return 0;
    const probes = this.#breaker?.permits(now) ?? Number.POSITIVE_INFINITY;
    return Math.min(probes, this.#bucket?.available(now) ?? Number.POSITIVE_INFINITY);
  }
}

const alone: readonly ClaimedDelivery[] = [];

function gathererOf(destination: Destination): Gatherer | null {
  const gathering = gatheringOf(destination);
  return gathering && new Gatherer(gathering);
}

const breakerOf = ({ circuitBreaker }: Destination) =>
  circuitBreaker === null || circuitBreaker.per === 'tenant' ? null : new CircuitBreaker(circuitBreaker);
const bucketOf = ({ rateLimit }: Destination, now: number) =>
  rateLimit === null ? null : new TokenBucket(rateLimit, now);
