import type { Scenario } from '../scenario.ts';
import { clock } from './clock.ts';
import { kill } from './kill.ts';
import { pause } from './pause.ts';
import { reload } from './reload.ts';
import { rolling } from './rolling.ts';
import { steady } from './steady.ts';
import { terminate } from './terminate.ts';

/** In the order in which `all` runs them. */
export const scenarios: readonly Scenario[] = [steady, kill, pause, rolling, terminate, reload, clock];
