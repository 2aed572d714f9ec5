import { type Failure, unreliable } from '../faults/misbehaviour.ts';
import type { Scenario } from '../scenario.ts';

export const receiversFail: Scenario = {
  name: 'receivers-fail',
  promise:
    'With receivers that fail 30 % of all attempts (refuse, reset, cut their answer short, hang) or answer slowly, everything is delivered in the end, what was accepted is never repeated, and order holds.',
  instances: 2,
  repeats: 'none',
  rules: {
    timeoutMs: 6_000,
    instanceTimeoutMs: 15_000,
    policy: { big: 'circuit_breaker: { failure_rate: 0.5, minimum: 10, window: 5s, open_for: 500ms }' },
  },
  workload: { writers: 4 },
  async nemesis(chaos) {
    const { rest, random, faults, receivers } = chaos;
    const each = receivers.destinations.map((name) => ({ name, random: random.fork(name) }));
    for (const { name, random: own } of each) {
      receivers.behave(name, unreliable(own, { rate: 0.3, failures: quick, slowMs: 800 }));
    }
    // One of them at a time also hangs, which costs a whole timeout.
    while (!chaos.ended) {
      const { name, random: own } = random.pick(each);
      await faults.during({ kind: 'hangs', permits: 'nothing', note: name }, async () => {
        receivers.behave(name, unreliable(own, { rate: 0.3, failures: [...quick, 'hang'], slowMs: 800 }));
        await rest(random.between(3_000, 8_000));
        receivers.behave(name, unreliable(own, { rate: 0.3, failures: quick, slowMs: 800 }));
      });
    }
  },
  // Before the harness does: it would cut connections, and with them answers that were given and not heard yet.
  async heal({ receivers }) {
    for (const name of receivers.destinations) receivers.behave(name, null);
  },
};

const quick: readonly Failure[] = ['refusal', 'refusal', 'reset', 'truncation', 'slowness'];
