import { setTimeout as sleep } from 'node:timers/promises';
import {
  changeItem,
  deleteOrders,
  emitSignal,
  insertNotes,
  insertOrders,
  updateOrders,
  type Writer,
} from './changes.ts';

type Step = (writer: Writer) => Promise<void>;

/** One transaction of the mix, decided by the writer's seed. @param hurry when true, the long ones end early */
export async function transact(writer: Writer, hurry: () => boolean): Promise<void> {
  const { client, random } = writer;
  await client.query('begin');
  await someSteps(writer);
  switch (random.below(12)) {
    case 0:
      await client.query('rollback');
      return;
    case 1: {
      await client.query('savepoint a');
      await someSteps(writer);
      await client.query(random.chance(0.5) ? 'rollback to savepoint a' : 'release savepoint a');
      await someSteps(writer);
      break;
    }
    case 2:
      // One that is open while thousands of later ids are routed.
      if (random.chance(0.3)) await waitingFor(random.between(500, 3_000), hurry);
      break;
    case 3:
      await sleep(random.below(30));
      await someSteps(writer);
      break;
    default:
  }
  await client.query('commit');
}

async function someSteps(writer: Writer): Promise<void> {
  for (let n = writer.random.below(3); n >= 0; n--) await stepOf(writer)(writer);
}

/** As many rows come as go: some hundred orders, each with a history. */
function stepOf({ random }: Writer): Step {
  const n = random.below(100);
  if (n < 12) return (writer) => insertOrders(writer, 1 + random.below(3));
  if (n < 48) return (writer) => updateOrders(writer, 1);
  if (n < 56) return (writer) => updateOrders(writer, 2 + random.below(6));
  if (n < 66) return (writer) => deleteOrders(writer, 1 + random.below(3));
  if (n < 82) return changeItem;
  if (n < 92) return emitSignal;
  return (writer) => insertNotes(writer, random.chance(0.1) ? 40 : 1);
}

async function waitingFor(ms: number, hurry: () => boolean): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end && !hurry(); ) await sleep(50);
}
