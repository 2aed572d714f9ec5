import type { Scenario } from '../scenario.ts';

export const steady: Scenario = {
  name: 'steady',
  promise: 'Without faults, three instances deliver everything exactly once, and in order where asked.',
  instances: 3,
  repeats: 'none',
  rules: { instanceTimeoutMs: 15_000 },
  async nemesis(chaos) {
    while (await chaos.rest(60_000));
  },
};
