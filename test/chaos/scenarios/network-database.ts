import type { TcpProxy } from '../../support/tcp-proxy.ts';
import { databaseVariable, proxiesToDatabase } from '../faults/network.ts';
import type { Chaos, Scenario } from '../scenario.ts';

const instances = 3;
const proxies: TcpProxy[] = [];

/** A lost connection is found within 8 s, and what was waiting for it is written a moment later. */
const foundWithinMs = 12_000;

export const networkDatabase: Scenario = {
  name: 'network-database',
  promise:
    'A network between the instances and the database that delays, cuts, refuses, freezes or forgets connections, all or some, loses nothing and repeats only what was in flight.',
  instances,
  repeats: 'in flight',
  rules: { instanceTimeoutMs: 3_000 },
  async prepare(site) {
    proxies.push(...(await proxiesToDatabase(site, instances)));
    return {
      databaseUrl: `\${${databaseVariable}}`,
      instance: (number) => ({
        env: { [databaseVariable]: proxies[number - 1]?.through(site.cluster.url) ?? '' },
      }),
      close: async () => {
        await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
      },
    };
  },
  async nemesis(chaos) {
    const { random } = chaos;
    while (await chaos.rest(random.between(500, 3_000))) {
      const everybody = random.chance(0.4);
      const hit = everybody ? proxies : [random.pick(proxies)];
      await random.pick([slow, slow, cut, cut, cut, refused, frozen, forgotten])(chaos, hit);
    }
  },
  async heal() {
    await Promise.all(proxies.map((proxy) => proxy.resume()));
  },
};

type Weather = (chaos: Chaos, hit: readonly TcpProxy[]) => Promise<void>;

const who = (hit: readonly TcpProxy[]) =>
  hit.length === 1 ? `instance ${proxies.indexOf(hit[0] as TcpProxy) + 1}` : 'all';

/** Slow is not broken: nothing repeats. */
const slow: Weather = async ({ faults, random, rest }, hit) => {
  const [ms, jitterMs] = [random.between(5, 60), random.between(0, 60)];
  await faults.during(
    { kind: 'slow network', permits: 'nothing', note: `${ms} + ${jitterMs} ms, ${who(hit)}` },
    async () => {
      for (const proxy of hit) {
        proxy.delay(ms, jitterMs);
        if (random.chance(0.3)) proxy.throttle(random.between(50_000, 500_000));
      }
      await rest(random.between(2_000, 6_000));
      await Promise.all(hit.map((proxy) => proxy.resume()));
    },
  );
};

/** The answer to a claim is lost with its connection: it goes back, unattempted. Outcomes are written again. */
const cut: Weather = async ({ faults, random }, hit) => {
  const share = random.pick([0.3, 0.6, 1]);
  await faults.during({ kind: 'cut', permits: 'nothing', note: `${share * 100} %, ${who(hit)}` }, async () => {
    for (const proxy of hit) proxy.cut(share);
  });
};

const refused: Weather = async ({ faults, random, rest }, hit) => {
  await faults.during({ kind: 'refused', permits: 'repeats', note: who(hit) }, async () => {
    await Promise.all(hit.map((proxy) => proxy.refuse()));
    for (const proxy of hit) proxy.cut();
    await rest(random.between(500, 6_000));
    await Promise.all(hit.map((proxy) => proxy.resume()));
    await rest(1_000);
  });
};

const frozen: Weather = async ({ faults, random, rest }, hit) => {
  await faults.during({ kind: 'frozen', permits: 'repeats', note: who(hit) }, async () => {
    for (const proxy of hit) proxy.pause();
    await rest(random.between(500, 9_000));
    await Promise.all(hit.map((proxy) => proxy.resume()));
    await rest(1_000);
  });
};

/** Neither end is told, ever: some of them, so that the heartbeat may go on as if nothing had happened. */
const forgotten: Weather = async ({ faults, random, rest }, hit) => {
  const share = random.pick([0.2, 0.5, 1]);
  await faults.during({ kind: 'forgotten', permits: 'repeats', note: `${share * 100} %, ${who(hit)}` }, async () => {
    for (const proxy of hit) proxy.swallow(share);
    await rest(foundWithinMs);
  });
};
