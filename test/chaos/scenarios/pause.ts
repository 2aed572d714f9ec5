import { setTimeout as sleep } from 'node:timers/promises';
import type { Scenario } from '../scenario.ts';

const instanceTimeoutMs = 2_000;

export const pause: Scenario = {
  name: 'pause',
  promise:
    'A process stopped (SIGSTOP) past the instance timeout loses its claims to the others, and awake again neither settles nor repeats what they have taken.',
  instances: 3,
  repeats: 'in flight',
  // Shorter than most pauses: what was in flight has timed out when it wakes, and its outcomes come too late.
  rules: { instanceTimeoutMs, timeoutMs: 3_500 },
  async nemesis({ random, fleet, receivers, rest }) {
    // Slow enough that there is always something in flight: when it stops, and with the others when it wakes.
    for (const destination of receivers.destinations) {
      receivers.behave(destination, () => ({
        status: 204,
        delayMs: random.chance(0.3) ? random.between(400, 1_200) : random.between(5, 100),
      }));
    }
    while (await rest(random.between(500, 2_500))) {
      const router = random.chance(0.4) ? fleet.router : null;
      // Mostly past the timeout; sometimes within it, when it may go on as if nothing had been.
      const [from, to] = random.pick([
        [1.3, 1.7],
        [1.3, 1.7],
        [1.7, 3],
        [0.1, 0.7],
      ] as const);
      const ms = Math.round((from + (to - from) * random.next()) * instanceTimeoutMs);
      await fleet.pause(router ?? random.pick(fleet.instances), () => sleep(ms));
    }
  },
  async verify({ fleet, faults }) {
    const long = faults
      .all()
      .filter(({ kind, startAt, endAt }) => kind === 'pause' && endAt - startAt > 1.2 * instanceTimeoutMs);
    const woke = fleet.said.filter(({ event }) => event === 'instance.suspended');
    if (long.length === 0 || woke.length > 0) return [];
    return ['no process that was stopped past the timeout noticed that it had been taken for dead'];
  },
};
