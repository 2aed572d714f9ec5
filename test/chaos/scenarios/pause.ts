import { setTimeout as sleep } from 'node:timers/promises';
import type { Scenario } from '../scenario.ts';

const instanceTimeoutMs = 2_000;

export const pause: Scenario = {
  name: 'pause',
  promise:
    'A process stopped (SIGSTOP) past the instance timeout loses its claims to the others, and awake again neither settles nor repeats what they have taken.',
  instances: 3,
  repeats: 'in flight',
  rules: { instanceTimeoutMs },
  async nemesis(chaos) {
    const { random, fleet } = chaos;
    while (await chaos.rest(random.between(500, 2_500))) {
      const router = random.chance(0.4) ? fleet.router : null;
      const victim = router ?? random.pick(fleet.instances);
      // Mostly past the timeout; sometimes just before it, when it may go on as if nothing had been.
      const ms = random.chance(0.75)
        ? random.between(1.2 * instanceTimeoutMs, 3 * instanceTimeoutMs)
        : random.between(200, instanceTimeoutMs);
      await fleet.pause(victim, () => sleep(ms));
    }
  },
  async verify({ fleet, faults }) {
    const long = faults
      .all()
      .filter(({ kind, startAt, endAt }) => kind === 'pause' && endAt - startAt > 1.2 * instanceTimeoutMs);
    const woke = fleet.said.filter(({ event }) => event === 'instance.suspended');
    if (long.length > 0 && woke.length === 0)
      return ['no paused instance ever noticed that it had been taken for dead'];
    return [];
  },
};
