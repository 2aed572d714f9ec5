import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually, rulesFile, type Sidecar, startSidecar } from './support.ts';

const channels = ['numbers', 'Größe "7"', 'alike'] as const;

const rulesOf = (database: string, more = '') => `
version: 1
database: ${database}
sources:
  numbers: { channel: numbers }
  quoted: { channel: 'Größe "7"' }
  alike: { channel: alike }
settings: { instance_timeout: 2s, poll_interval: 1s }
${more}`;

/** Serial numbers on two channels and always the same on a third, some of them many to a transaction, until told to stop. */
function startSender(database: TestDatabase) {
  let sent = 0;
  let going = true;
  const run = async () => {
    while (going) {
      const many = sent % 7 === 0 ? 40 : 1;
      // Two alike in one transaction arrive as one.
      await database.query(
        `select pg_notify($1, n::text), pg_notify($2, n::text), pg_notify($3, 'the same'), pg_notify($3, 'the same')
         from generate_series($4::int, $5::int) n`,
        [...channels, sent + 1, sent + many],
      );
      sent += many;
      transactions += 1;
      await sleep(2);
    }
  };
  let transactions = 0;
  const running = run();
  onTestFinished(() => {
    going = false;
  });
  return {
    get sent() {
      return sent;
    },
    stop: async () => {
      going = false;
      await running;
      return { numbers: sent, alike: transactions };
    },
  };
}

async function recorded(database: TestDatabase, source: string): Promise<string[]> {
  const { rows } = await database.query<{ payload: string }>(
    'select payload::text from observers.events where source = $1 order by id',
    [source],
  );
  return rows.map(({ payload }) => payload);
}

/** Each once, in their order. */
async function expectAll(database: TestDatabase, sent: { numbers: number; alike: number }): Promise<void> {
  const last = String(sent.numbers);
  for (const source of ['numbers', 'quoted']) {
    const seen = await eventually(`${source} ${last}`, async () => {
      const payloads = await recorded(database, source);
      return payloads.includes(last) && payloads;
    });
    const kept = new Set(seen);
    const missing = Array.from({ length: sent.numbers }, (_, i) => String(i + 1)).filter((n) => !kept.has(n));
    expect({ missing, count: seen.length }).toEqual({ missing: [], count: sent.numbers });
    expect(seen.findIndex((payload, i) => payload !== String(i + 1))).toBe(-1);
  }
  await eventually('all that are alike', async () => (await recorded(database, 'alike')).length >= sent.alike);
  const alike = await recorded(database, 'alike');
  expect([alike.length, new Set(alike)]).toEqual([sent.alike, new Set(['"the same"'])]);
}

/** The pid that records the channel, once it is another than before. */
function recorder(database: TestDatabase, channel = 'numbers', otherThan = -1): Promise<number> {
  return eventually(`somebody else than ${otherThan} to record ${channel}`, async () => {
    const { rows } = await database.query<{ pid: number }>(
      'select i.pid from observers.channel_positions p join observers.instances i on i.process = p.recorder where p.channel = $1',
      [channel],
    );
    return rows[0] !== undefined && rows[0].pid !== otherThan ? rows[0].pid : null;
  });
}

/** All that was notified before it began to listen is recorded: nothing is lost when the others die now. */
function joined(database: TestDatabase, { pid }: Sidecar): Promise<true> {
  return eventually(`${pid} to be ready`, async () => {
    const { rows } = await database.query(
      `select from observers.channel_listeners l
       join observers.instances i using (process) join observers.channel_positions p using (channel)
       where i.pid = $1 and p.mark >= l.since`,
      [pid],
    );
    return rows.length === channels.length;
  });
}

const sidecarOf = (sidecars: readonly Sidecar[], pid: number): Sidecar => {
  const found = sidecars.find((sidecar) => sidecar.pid === pid);
  if (found === undefined) throw new Error(`${pid} is none of ours`);
  return found;
};

test('recorders are killed one after the other while notifications come: each is recorded once, in order', async () => {
  const database = await createDatabase('kill_recorders');
  const rules = await rulesFile(rulesOf(database.url));
  // Who migrates first, the others find it done.
  const sidecars = [await startSidecar(rules, { until: 'observing' })];
  const more = [1, 2].map(() => startSidecar(rules, { until: 'observing' }));
  const sender = startSender(database);
  sidecars.push(...(await Promise.all(more)));
  for (const sidecar of sidecars) await joined(database, sidecar);
  let joining: Promise<Sidecar> | null = null;
  let last = await recorder(database);
  for (let kill = 0; kill < 3; kill++) {
    const goal = sender.sent + 300;
    await eventually('some more', () => sender.sent > goal);
    if (kill === 2 && joining !== null) {
      sidecars.push(await joining);
      await joined(database, await joining);
    }
    joining ??= startSidecar(rules, { until: 'observing' });
    await sidecarOf(sidecars, last).kill('SIGKILL');
    last = await recorder(database, 'numbers', last);
  }
  await expectAll(database, await sender.stop());
}, 90_000);

test('a recorder that is frozen loses its place, and writes nothing when it wakes up', async () => {
  const database = await createDatabase('freeze_recorder');
  const rules = await rulesFile(rulesOf(database.url));
  const first = await startSidecar(rules, { until: 'observing' });
  await recorder(database);
  const second = await startSidecar(rules, { until: 'observing' });
  const sender = startSender(database);
  await eventually('a thousand', async () => (await recorded(database, 'numbers')).length > 1_000);
  first.signal('SIGSTOP');
  await second.record('the eviction', ({ event }) => event === 'instance.evicted');
  await recorder(database, 'numbers', first.pid);
  const before = (await recorded(database, 'numbers')).length;
  await eventually('more', async () => (await recorded(database, 'numbers')).length > before + 500);
  first.signal('SIGCONT');
  await first.record('its new life', ({ event }) => event === 'instance.suspended');
  // Back again, and wanted.
  await joined(database, first);
  await second.kill('SIGKILL');
  await recorder(database, 'numbers', second.pid);
  const now = sender.sent;
  await eventually('more', () => sender.sent > now + 300);
  await expectAll(database, await sender.stop());
}, 60_000);

test('a clean stop of the recorder hands its channels over at once', async () => {
  const database = await createDatabase('leave_channels');
  const rules = await rulesFile(rulesOf(database.url));
  const sidecars = [
    await startSidecar(rules, { until: 'observing' }),
    await startSidecar(rules, { until: 'observing' }),
    await startSidecar(rules, { until: 'observing' }),
  ];
  for (const sidecar of sidecars) await joined(database, sidecar);
  const sender = startSender(database);
  for (let stop = 0; stop < 2; stop++) {
    const goal = sender.sent + 300;
    await eventually('some more', () => sender.sent > goal);
    const leaving = sidecarOf(sidecars, await recorder(database));
    expect(await leaving.kill()).toMatchObject({ status: 0, stderr: '' });
    await recorder(database, 'numbers', leaving.pid);
  }
  await expectAll(database, await sender.stop());
}, 60_000);
