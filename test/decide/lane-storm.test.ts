/**
 * Order per key under everything at once: several instances that claim, settle, hand back, fall silent with claims in
 * hand and report late; heads that die and hold their lane, or are skipped; replays and discards; routing beside it.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { decide } from '../../src/pipeline/decide/decide.ts';
import type { ClaimedDelivery, Settlement } from '../../src/transport/contract.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { createDeliveryQueue } from '../../src/transport/postgres/delivery-queue.ts';
import { isTransient } from '../../src/transport/postgres/failures.ts';
import { createInstanceRegistry } from '../../src/transport/postgres/instance-registry.ts';
import type { TestDatabase } from '../support/database.ts';
import { settlementOf } from '../support/settlement.ts';
import { hotTable, openSession, prepare, type Rules } from './support.ts';

const destinations = ['http://127.0.0.1:9/a', 'http://127.0.0.1:9/b'];
const orderedRules: Rules = {
  sources: { hot: { table: 'public.hot', notify: false } },
  observers: { ordered: { source: 'hot', order_by: 'key', actions: destinations.map((webhook) => ({ webhook })) } },
};
const rounds = 60;
const keys = 5;
const instanceTimeoutMs = 60_000;

test('several instances, silent ones, dead heads, replays and discards: each lane goes first in, first out', async () => {
  const { database, rules } = await prepare('lane_storm', hotTable, orderedRules);
  const session = await openSession(database.url, { pages: { eventsPerSlice: 7 } });
  const storm = new Storm(database, randomFrom(Number(process.env.STORM_SEED ?? 7)));
  onTestFinished(() => storm.close());
  let routing = true;
  const route = (async () => {
    for (let n = 0; n < rounds; n++) {
      await database.query('update public.hot set v = v + 1 where id <= $1', [keys]);
      for (let events = await session.read(); events.length > 0; events = await session.read()) {
        expect(await session.commit(decide(events, rules))).not.toBeNull();
      }
    }
    routing = false;
  })();
  const emptied = async () => !routing && (await storm.empty());
  await Promise.all([
    route,
    storm.work(emptied),
    storm.work(emptied),
    storm.work(emptied),
    storm.garden(emptied),
    storm.watch(emptied),
  ]);
  expect(storm.firsts.size).toBe(keys * destinations.length);
  const inOrder = Array.from({ length: rounds }, (_, n) => n + 1);
  for (const [lane, order] of storm.firsts) expect({ lane, order }).toEqual({ lane, order: inOrder });
  // Without these, the storm was a calm.
  for (const [what, times] of Object.entries(storm.seen))
    expect({ what, times: times > 3 }).toEqual({ what, times: true });
}, 60_000);

class Storm {
  /** By lane: the versions in the order in which they were first claimed. */
  readonly firsts = new Map<string, number[]>();
  readonly seen = { held: 0, skipped: 0, replayed: 0, discarded: 0, silent: 0, late: 0, released: 0, retried: 0 };
  readonly #database: TestDatabase;
  readonly #random: () => number;
  readonly #pool;

  constructor(database: TestDatabase, random: () => number) {
    this.#database = database;
    this.#random = random;
    this.#pool = createPool(database.url, 8);
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  async empty(): Promise<boolean> {
    const { rows } = await this.#database.query(
      'select from observers.deliveries union all select from observers.lanes union all select from observers.dead_letters',
    );
    return rows.length === 0;
  }

  /** An instance, and its successors: now and then it falls silent with its claims in hand, and reports them later. */
  async work(done: () => Promise<boolean>): Promise<void> {
    while (!(await done())) {
      const instance = randomUUID();
      const registry = createInstanceRegistry(this.#pool, instance);
      const queue = createDeliveryQueue({ durable: this.#pool, claims: this.#pool }, instance);
      await registry.heartbeat('v', false, 10_000);
      let silent = false;
      while (!silent && !(await done())) {
        const { claimed } = await queue.claim(destinations.map((destination) => ({ destination, slots: 20 })));
        if (claimed.length === 0) await sleep(5);
        for (const one of claimed) this.#note(one);
        silent = this.#random() < 0.1;
        const handedBack = silent ? [] : claimed.filter(() => this.#random() < 0.1);
        this.seen.released += await queue.release(
          handedBack.map(({ delivery }) => delivery),
          0,
        );
        const outcomes = claimed.filter((one) => !handedBack.includes(one)).map((one) => this.#outcome(one));
        if (silent && claimed.length > 0) await this.#fallSilent(instance);
        const settled = await insist(() => queue.settle(outcomes));
        for (const { delivery } of outcomes.filter((one) => one.holdsLane && settled.has(one.delivery.id))) {
          const held = claimed.find((one) => one.delivery === delivery);
          if (held !== undefined && delivery.deadLetterId === null) this.#holding.add(placeOf(held));
        }
        if (silent) this.seen.late += outcomes.length - settled.size;
      }
      await registry.deregister();
    }
  }

  /** Its heartbeat is of long ago, and another one takes its claims over. */
  async #fallSilent(instance: string): Promise<void> {
    await this.#pool.query("update observers.instances set heartbeat_at = now() - interval '61 s' where id = $1", [
      instance,
    ]);
    this.seen.silent += await createInstanceRegistry(this.#pool, randomUUID()).rescue(instanceTimeoutMs);
    await sleep(this.#random() * 10);
  }

  #note({ delivery, event }: ClaimedDelivery): void {
    const lane = `${delivery.destination} ${event?.key}`;
    const v: number = JSON.parse(event?.new ?? '{}').v;
    const order = this.firsts.get(lane) ?? [];
    this.firsts.set(lane, order);
    if (delivery.deadLetterId !== null) {
      // A skipped one is replayed beside its lane; these are the ones that hold theirs.
      if (this.#holding.has(placeOf({ delivery, event })))
        expect({ lane, replayed: v }).toEqual({ lane, replayed: order.at(-1) });
    } else if (order.at(-1) !== v) order.push(v);
  }

  /** Those whose death was written down: a late report of one that held its lane holds nothing. */
  readonly #holding = new Set<string>();

  #outcome({ delivery }: ClaimedDelivery): Settlement {
    const dice = this.#random();
    const kind = dice < 0.15 ? 'retry' : dice < 0.35 ? 'dead' : 'delivered';
    const holdsLane = kind === 'dead' && dice < 0.25;
    if (kind === 'retry') this.seen.retried += 1;
    if (kind === 'dead' && delivery.deadLetterId === null) {
      this.seen[holdsLane ? 'held' : 'skipped'] += 1;
    }
    return settlementOf(delivery, kind, { holdsLane, keepAttempt: false });
  }

  /** Replays and discards dead letters. */
  async garden(done: () => Promise<boolean>): Promise<void> {
    while (!(await done())) {
      const replay = this.#random() < 0.7;
      const { rowCount } = await insist(() =>
        this.#pool.query(
          replay
            ? `select observers.replay(id) from (select id from observers.dead_letters order by random() limit 3 for update skip locked) d`
            : `delete from observers.dead_letters where id in (
               select d.id from observers.dead_letters d
               where not exists (select from observers.deliveries q where q.dead_letter_id = d.id)
               order by random() limit 1 for update skip locked)`,
        ),
      );
      this.seen[replay ? 'replayed' : 'discarded'] += rowCount ?? 0;
      await sleep(10);
    }
  }

  async watch(done: () => Promise<boolean>): Promise<void> {
    while (!(await done())) {
      const { rows } = await this.#database.query(violations);
      expect(rows).toEqual([]);
      await sleep(5);
    }
  }
}

/**
 * Lanes that are held without a dead letter that holds them, or the reverse; held with a claimable row; not held without
 * exactly one head, the oldest; with a wrong count; or that are empty and still there.
 */
const violations = `
  with d as (
    select destination, ordering_key, count(*) as n, count(*) filter (where state <> 'blocked') as heads, min(id) as oldest,
           min(id) filter (where state <> 'blocked') as head
    from observers.deliveries where ordering_key is not null group by 1, 2),
  h as (select destination, ordering_key, count(*) as holding from observers.dead_letters where holds_lane group by 1, 2)
  select *
  from observers.lanes l full join d using (destination, ordering_key) full join h using (destination, ordering_key)
  where l.pending is null or l.pending <> coalesce(d.n, 0) or l.held <> (coalesce(h.holding, 0) > 0)
     or (l.held and coalesce(d.heads, 0) > 0)
     or (not l.held and (coalesce(d.heads, 0) <> 1 or d.head <> d.oldest))
     or coalesce(h.holding, 0) > 1`;

const placeOf = ({ delivery, event }: Pick<ClaimedDelivery, 'delivery' | 'event'>) =>
  `${delivery.destination} ${event?.key} ${JSON.parse(event?.new ?? '{}').v}`;

/** Rows locked in an order that nobody can foresee end in a deadlock now and then; then one of the two tries again. */
async function insist<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isTransient(error)) throw error;
    }
  }
}

/** mulberry32: a seed repeats the dice, if not the order in which the instances throw them. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
