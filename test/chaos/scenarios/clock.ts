import type { Scenario } from '../scenario.ts';

const shift = new URL('../faults/shift-clock.mjs', import.meta.url).href;
const [hour, day] = [3_600_000, 86_400_000];
const jumps = [0, hour, -hour, 30 * day, -30 * day, 3_650 * day, -3_650 * day];

export const clock: Scenario = {
  name: 'clock',
  promise:
    "The clocks of the sidecars' hosts decide nothing: with one three days ahead and one that jumps by hours and years, retries, leases, order and deliveries are as ever.",
  instances: 3,
  repeats: 'in flight',
  rules: { instanceTimeoutMs: 3_000 },
  async prepare({ random }) {
    // Another offset each second.
    const sequence = Array.from({ length: 30 }, () => random.pick(jumps));
    const clocks = [[3 * day], sequence, [0]];
    return {
      instance: (number) => {
        const offsets = clocks[number - 1] ?? [0];
        return { nodeOptions: ['--import', shift], env: { CHAOS_CLOCK: offsets.join(',') }, clockOffsetsMs: offsets };
      },
    };
  },
  async nemesis({ rest, random, receivers, fleet }) {
    // Retries have due times, and kills make others wait for leases: whatever a clock could disturb.
    for (const destination of receivers.destinations) {
      receivers.behave(destination, () => (random.chance(0.2) ? { status: 503 } : null));
    }
    while (await rest(random.between(3_000, 6_000))) await fleet.kill(random.pick(fleet.instances));
  },
};
