import type { TcpProxy } from '../../support/tcp-proxy.ts';
import { proxiesToReceivers } from '../faults/network.ts';
import type { Chaos, Scenario } from '../scenario.ts';

let proxies: ReadonlyMap<string, TcpProxy> = new Map();

const timeoutMs = 10_000;

export const networkReceivers: Scenario = {
  name: 'network-receivers',
  promise:
    'A network between the instances and the receivers that delays, cuts, refuses, freezes or forgets connections loses nothing and repeats only what was in flight.',
  instances: 2,
  repeats: 'in flight',
  rules: { timeoutMs, instanceTimeoutMs: 3_000 },
  async prepare(site) {
    proxies = await proxiesToReceivers(site);
    return {
      receiverUrl: (destination, url) => proxies.get(destination)?.through(url).replace(/\/$/, '') ?? url,
      close: async () => {
        await Promise.all([...proxies.values()].map((proxy) => proxy.stop()));
      },
    };
  },
  async nemesis(chaos) {
    const { random } = chaos;
    while (await chaos.rest(random.between(200, 2_000))) {
      const name = random.pick([...proxies.keys()]);
      const proxy = proxies.get(name);
      if (proxy !== undefined) await random.pick([slow, cut, cut, refused, frozen, forgotten])(chaos, proxy, name);
    }
  },
  async heal() {
    await Promise.all([...proxies.values()].map((proxy) => proxy.resume()));
  },
};

type Weather = (chaos: Chaos, proxy: TcpProxy, name: string) => Promise<void>;

/** Far below the timeout. */
const slow: Weather = async ({ faults, random, rest }, proxy, name) => {
  await faults.during({ kind: 'slow network', permits: 'nothing', note: name }, async () => {
    proxy.delay(random.between(5, 200), random.between(0, 200));
    await rest(random.between(1_000, 5_000));
    await proxy.resume();
  });
};

/** What had been accepted, and its answer was on the way: nobody can tell. */
const cut: Weather = async ({ faults, random, rest }, proxy, name) => {
  await faults.during({ kind: 'cut', permits: 'repeats', note: name }, async () => {
    proxy.cut(random.pick([0.3, 1]));
    await rest(100);
  });
};

const refused: Weather = async ({ faults, random, rest }, proxy, name) => {
  await faults.during({ kind: 'refused', permits: 'repeats', note: name }, async () => {
    await proxy.refuse();
    proxy.cut();
    await rest(random.between(500, 5_000));
    await proxy.resume();
  });
};

/**
 * What was given up arrives when the network thaws, after younger ones of its lane perhaps: the sender could not take it
 * back. So they are cut before.
 */
const frozen: Weather = async ({ faults, random, rest }, proxy, name) => {
  await faults.during({ kind: 'frozen', permits: 'repeats', note: name }, async () => {
    proxy.pause();
    await rest(random.between(500, 0.5 * timeoutMs));
    proxy.cut();
    await proxy.resume();
    await rest(100);
  });
};

const forgotten: Weather = async ({ faults, rest }, proxy, name) => {
  await faults.during({ kind: 'forgotten', permits: 'repeats', note: name }, async () => {
    proxy.swallow(0.6);
    await rest(timeoutMs + 500);
  });
};
