import type { Scenario } from '../scenario.ts';

export const kill: Scenario = {
  name: 'kill',
  promise: 'SIGKILL at any moment loses nothing, and repeats only what that instance had in flight.',
  instances: 3,
  repeats: 'in flight',
  async nemesis(chaos) {
    // 200 kills in half an hour are one in nine seconds; a new process needs one or two to work again.
    while (await chaos.rest(chaos.random.between(1_500, 10_000))) {
      // The router as often as all others together: its death costs most.
      const victim = chaos.random.chance(0.5) ? chaos.fleet.router : null;
      await chaos.fleet.kill(victim ?? chaos.random.pick(chaos.fleet.instances));
    }
  },
};
