import type { Scenario } from '../scenario.ts';

export const rolling: Scenario = {
  name: 'rolling',
  promise: 'A rolling restart (SIGTERM, one after the other) loses nothing and repeats nothing at all.',
  instances: 3,
  repeats: 'none',
  rules: { instanceTimeoutMs: 15_000 },
  async nemesis(chaos) {
    for (let n = 0; await chaos.rest(chaos.random.between(300, 1_500)); n++) {
      const instance = chaos.fleet.instance((n % chaos.fleet.instances.length) + 1);
      const how = await chaos.fleet.restart(instance);
      if (how !== 'status 0') throw new Error(`instance ${instance.number} answered SIGTERM with ${how}`);
    }
  },
  async verify({ fleet }) {
    const rescued = fleet.said.filter(({ event }) => event === 'delivery.rescued').length;
    return rescued === 0 ? [] : [`${rescued} times claims were left to be rescued: a stop should hand them back`];
  },
};
