import type { Fault } from './checker.ts';
import type { Said } from './instance.ts';

/** From the death of a router to the next one that routes, the longest; null when none died. */
export function slowestTakeoverMs(faults: readonly Fault[], said: readonly Said[]): number | null {
  const acquired = said.filter(({ event }) => event === 'routing.acquired').map(({ at }) => at);
  const times = faults
    .filter(({ routed, kind }) => routed === true && kind === 'kill')
    .flatMap(({ startAt }) => {
      const next = acquired.find((at) => at >= startAt);
      return next === undefined ? [] : [next - startAt];
    });
  return times.length === 0 ? null : Math.max(...times);
}
