import type { Scenario } from '../scenario.ts';
import { kill } from './kill.ts';
import { steady } from './steady.ts';

/** In the order in which `all` runs them. */
export const scenarios: readonly Scenario[] = [steady, kill];
