import { down, type Failure } from '../faults/misbehaviour.ts';
import type { Chaos, Scenario } from '../scenario.ts';

/** `ledger` has lanes: their order must hold through the outage. */
const victims = ['ledger', 'audit'] as const;
const ways = ['hang', 'refusal', 'reset'] as const satisfies readonly Failure[];

const warmUpMs = 4_000;

/** When which victim went down and came back, for the comparison of paces. Of the run in progress. */
let startedAt = 0;
let outages: { from: number; to: number }[] = [];

export const destinationDown: Scenario = {
  name: 'destination-down',
  promise:
    'While a destination is down for long (hangs, refuses, resets), the others keep their pace; when it is back it gets everything, once, its lanes in order.',
  instances: 2,
  repeats: 'none',
  rules: { timeoutMs: 10_000, instanceTimeoutMs: 15_000 },
  async nemesis(chaos) {
    const { random, faults, receivers } = chaos;
    outages = [];
    startedAt = Date.now();
    // What they do without faults, to compare with; not the very first seconds, when everything is slow.
    await chaos.rest(warmUpMs + 8_000);
    while (!chaos.ended) {
      const [victim, how] = [random.pick(victims), random.pick(ways)];
      const from = Date.now();
      await faults.during({ kind: 'down', permits: 'nothing', note: `${victim}: ${how}` }, async () => {
        receivers.behave(victim, down(how, random.fork(victim)));
        await chaos.rest(random.between(10_000, 20_000));
        receivers.behave(victim, null);
      });
      outages.push({ from, to: Date.now() });
      await chaos.rest(5_000);
    }
  },
  async verify(chaos) {
    const { quiet, during } = await latencies(chaos);
    if (quiet.length === 0 || during.length === 0) return [];
    const [before, then] = [median(quiet), median(during)];
    chaos.say(
      `the healthy destinations: median ${before.toFixed(0)} ms from change to request without an outage, ` +
        `${then.toFixed(0)} ms during one: ${(then / before).toFixed(2)} times`,
    );
    // Noise of a busy machine is no starvation: that is a matter of seconds.
    return then > 10 * before && then > 1_000 ? [`the healthy destinations starve: median ${then.toFixed(0)} ms`] : [];
  },
};

interface Latencies {
  readonly quiet: readonly number[];
  readonly during: readonly number[];
}

/** Of first requests to destinations that were never down, by when the event was made. */
async function latencies({ cluster, receivers }: Chaos): Promise<Latencies> {
  const { rows } = await cluster.query<{ delivery: string; at: number }>(
    `select a.observer || ' ' || e.source || ' ' || e.operation || ' ' ||
              coalesce(e.new ->> 'op', e.payload ->> 'op', e.old ->> 'op') as delivery,
            (extract(epoch from e.created_at) * 1000)::float8 as at
     from observers.attempts a join observers.events e on e.id = a.event_id and e.uid = a.event_uid
     where a.attempt = 1 and a.destination <> all ($1)`,
    [victims],
  );
  const madeAt = new Map(rows.map(({ delivery, at }) => [delivery, at]));
  const quiet: number[] = [];
  const during: number[] = [];
  for (const { delivery, at } of receivers.arrivals) {
    const made = madeAt.get(delivery);
    if (made === undefined || made < startedAt + warmUpMs) continue;
    madeAt.delete(delivery);
    const hit = outages.some(({ from, to }) => made >= from && made <= to);
    (hit ? during : quiet).push(at - made);
  }
  return { quiet, during };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
