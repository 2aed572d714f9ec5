/**
 * The bulk test again, with the process killed in the middle, once and many times. The moments are chosen by what has
 * arrived, so that they fall into routing, claiming, sending and settling alike.
 */
import { expect, test } from 'vitest';
import { startSidecar } from './support.ts';
import {
  createWorld,
  drained,
  expectEachOnce,
  insertOrders,
  noSessions,
  unsettledMessageIds,
  type World,
} from './world.ts';

/** Claims of the three lanes (places and as many waiting for one: (40 + 20 + 40) × 2), and outcomes of one batch unwritten. */
const mostClaimed = 200 + 1_000;
const quietly = { args: ['--log-level', 'warn'], until: 'spawned' } as const;

test('10,000 rows × 3 actions with SIGKILL in the middle: none lost, repeats only of what was in flight', {
  timeout: 200_000,
}, async () => {
  const repeats = await surviveKills(await createWorld('bulk_kill'), 10_000, [12_000]);
  console.log(`one SIGKILL: ${repeats} repeats of 30,000 deliveries`);
});

test('eight SIGKILLs in a row: none lost, repeats only of what was in flight', { timeout: 200_000 }, async () => {
  const kills = [100, 900, 1_000, 2_500, 4_000, 5_500, 7_000, 8_500];
  const repeats = await surviveKills(await createWorld('bulk_kills'), 3_000, kills);
  console.log(`eight SIGKILLs: ${repeats} repeats of 9,000 deliveries`);
});

/**
 * Kills and restarts each time so many have arrived. What may repeat is asked of the database right after each kill: what
 * is claimed there and has arrived already; what is settled there may not arrive again.
 * @returns how many repeats there were
 */
async function surviveKills(world: World, rows: number, killAt: readonly number[]): Promise<number> {
  const { database, arrivals } = world;
  const permitted = new Map<string, number>();
  let sidecar = await startSidecar(world.rules, quietly);
  await insertOrders(database, rows);
  for (const count of killAt) {
    await world.arrived(count);
    await sidecar.kill('SIGKILL');
    await Promise.all([noSessions(database), world.disconnected()]);
    const claimed = await unsettledMessageIds(database, 'claimed');
    expect(claimed.size).toBeLessThanOrEqual(mostClaimed);
    for (const id of claimed) permitted.set(id, (permitted.get(id) ?? 1) + 1);
    sidecar = await startSidecar(world.rules, quietly);
  }
  await world.arrived(3 * rows);
  await drained(database);
  const times = new Map<string, number>();
  for (const { messageId } of arrivals) times.set(messageId, (times.get(messageId) ?? 0) + 1);
  expect([...times].filter(([id, count]) => count > (permitted.get(id) ?? 1))).toEqual([]);
  expectEachOnce([...new Map(arrivals.map((arrival) => [arrival.messageId, arrival])).values()], rows);
  expect(await sidecar.kill()).toMatchObject({ status: 0, stderr: '' });
  expect((await database.query('select from observers.dead_letters')).rowCount).toBe(0);
  return arrivals.length - times.size;
}
