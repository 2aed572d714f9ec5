import type { Scenario } from '../scenario.ts';
import { clock } from './clock.ts';
import { destinationDown } from './destination-down.ts';
import { diskFull } from './disk-full.ts';
import { kill } from './kill.ts';
import { networkDatabase } from './network-database.ts';
import { networkReceivers } from './network-receivers.ts';
import { pause } from './pause.ts';
import { pgbouncer } from './pgbouncer.ts';
import { postgresKill } from './postgres-kill.ts';
import { postgresRestart } from './postgres-restart.ts';
import { receiversFail } from './receivers-fail.ts';
import { reload } from './reload.ts';
import { rolling } from './rolling.ts';
import { steady } from './steady.ts';
import { terminate } from './terminate.ts';

/** In the order in which `all` runs them. */
export const scenarios: readonly Scenario[] = [
  steady,
  kill,
  pause,
  rolling,
  terminate,
  reload,
  clock,
  postgresRestart,
  postgresKill,
  networkDatabase,
  networkReceivers,
  pgbouncer,
  receiversFail,
  destinationDown,
  diskFull,
];
