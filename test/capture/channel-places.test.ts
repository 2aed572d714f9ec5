import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { TelemetryEvent } from '../../src/domain/telemetry.ts';
import { createEngine, type Engine } from '../../src/engine.ts';
import { ChannelRecorder, type ChannelRecorderOptions } from '../../src/pipeline/capture/channel-recorder.ts';
import type { NotificationLog } from '../../src/transport/contract.ts';
import { isTransient } from '../../src/transport/postgres/failures.ts';
import { lockClass, locks } from '../../src/transport/postgres/locks.ts';
import { openNotificationLog } from '../../src/transport/postgres/notification-log.ts';
import { WakeUpCalls } from '../../src/transport/postgres/wake-up-calls.ts';
import { type CaptureDatabase, createCaptureDatabase, until } from './support.ts';

async function prepared(label: string): Promise<CaptureDatabase> {
  const database = await createCaptureDatabase(label);
  await database.observe({});
  return database;
}

const oneChannel = (database: CaptureDatabase) => database.config({ c: { channel: 'c' } });

interface Station {
  readonly process: string;
  readonly recorder: ChannelRecorder;
  readonly told: readonly TelemetryEvent[];
  readonly ear: WakeUpCalls;
  /** As a process that is killed: nothing is written down, nothing said. */
  kill(): Promise<void>;
}

/** What an instance has for its channels, without the rest: real sessions, and the log made unreliable on request. */
async function startStation(
  database: CaptureDatabase,
  { wrap, ...more }: Partial<ChannelRecorderOptions> & { wrap?: (log: NotificationLog) => NotificationLog } = {},
): Promise<Station> {
  const process = randomUUID();
  const told: TelemetryEvent[] = [];
  const config = oneChannel(database);
  let dead = false;
  let session: NotificationLog | null = null;
  const recorder: ChannelRecorder = new ChannelRecorder({
    openLog: async () => {
      if (dead) throw away();
      session = await openNotificationLog(database.url, { process, timeoutMs: 60_000 });
      return wrap === undefined ? session : wrap(session);
    },
    onEvents: () => {},
    telemetry: (event) => told.push(event),
    isTransient,
    ...more,
  });
  const ear = new WakeUpCalls({
    url: database.url,
    process,
    pool: database.ours,
    channels: ['c'],
    onEvents: () => {},
    onDestinations: () => {},
    onReplays: () => {},
    onDeliveries: () => {},
    onNotification: (channel, payload) => recorder.hear(channel, payload),
    onListening: (channels) => recorder.listening(channels),
    onMark: (payload) => recorder.hearMark(payload),
    onDeaf: () => recorder.deafened(),
    onPlaces: () => recorder.look(),
    telemetry: (event) => told.push(event),
  });
  const kill = async () => {
    dead = true;
    await Promise.all([session?.close(), ear.stop()]);
    await recorder.stop();
  };
  await database.query(
    `insert into observers.instances (id, process, host, pid, version, rules_version) values ($1, $1, 'here', 1, '1', '1')`,
    [process],
  );
  recorder.load(config);
  onTestFinished(kill);
  await ear.start();
  recorder.start();
  return { process, recorder, told, ear, kill };
}

const away = () => Object.assign(new Error('the database is away'), { code: 'ECONNRESET' });

/** Every statement of a log by way of `hook`. */
function around(
  log: NotificationLog,
  hook: <T>(name: keyof NotificationLog, call: () => Promise<T>) => Promise<T>,
): NotificationLog {
  return {
    announce: (token, channels) => hook('announce', () => log.announce(token, channels)),
    publish: (since) => hook('publish', () => log.publish(since)),
    take: (channels) => hook('take', () => log.take(channels)),
    giveBack: (channels) => hook('giveBack', () => log.giveBack(channels)),
    look: (channels) => hook('look', () => log.look(channels)),
    heardByOthers: (channel, before) => hook('heardByOthers', () => log.heardByOthers(channel, before)),
    record: (batches, notifications) => hook('record', () => log.record(batches, notifications)),
    close: () => log.close(),
  };
}

/** Sends serial numbers until told to stop. @returns how many there were */
function startSending(database: CaptureDatabase, channel = 'c'): () => Promise<number> {
  let going = true;
  let sent = 0;
  const running = (async () => {
    while (going) {
      sent += 1;
      await database.query('select pg_notify($1, $2)', [channel, String(sent)]);
      await sleep(1);
    }
  })();
  return async () => {
    going = false;
    await running;
    return sent;
  };
}

async function payloads(database: CaptureDatabase, source = 'c'): Promise<number[]> {
  const { rows } = await database.query<{ payload: number }>(
    'select payload from observers.events where source = $1 order by id',
    [source],
  );
  return rows.map(({ payload }) => payload);
}

async function expectEach(database: CaptureDatabase, count: number, source = 'c'): Promise<void> {
  await until(`${source} ${count}`, async () => (await payloads(database, source)).includes(count));
  expect(await payloads(database, source)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
}

/** Ends sessions of ours, and resolves when they are gone. */
async function cut(database: CaptureDatabase, names: string): Promise<void> {
  const { rows } = await database.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = current_database() and application_name like $1
     and pg_terminate_backend(pid)`,
    [names],
  );
  await until('their end', async () => {
    const left = await database.query('select from pg_stat_activity where pid = any ($1)', [
      rows.map(({ pid }) => pid),
    ]);
    return left.rows.length === 0;
  });
}

async function startEngine(database: CaptureDatabase): Promise<Engine> {
  const engine = createEngine(oneChannel(database));
  onTestFinished(() => engine.stop({ timeoutMs: 0 }));
  await engine.start();
  await until('it to be ready', async () => (await engine.readiness()).ready);
  return engine;
}

test('the LISTEN connections are cut in turn: whoever heard more fills the gap of the other', async () => {
  const database = await prepared('cut_ears');
  const stations = [await startStation(database), await startStation(database)];
  for (const { recorder } of stations) await recorder.ready(10_000);
  const stop = startSending(database);
  for (let round = 0; round < 4; round++) {
    const { process, recorder } = stations[round % 2] as Station;
    const goal = (await payloads(database)).length + 50;
    await until('more', async () => (await payloads(database)).length > goal);
    await cut(database, `pg-observers listener ${process}`);
    await until('it to listen again, and to be ready', async () => {
      const { rows } = await database.query(
        `select from observers.channel_listeners l join observers.channel_positions p using (channel)
         where l.process = $1 and p.mark >= l.since and recorder is not null`,
        [process],
      );
      return rows.length === 1 && recorder.complaint() === null;
    });
  }
  await expectEach(database, await stop());
}, 60_000);

test('the recording sessions are cut again and again, and two race for the place: each is recorded once', async () => {
  const database = await prepared('cut_logs');
  for (const { recorder } of [await startStation(database), await startStation(database)]) await recorder.ready(10_000);
  const stop = startSending(database);
  for (let round = 0; round < 10; round++) {
    const goal = (await payloads(database)).length + 20;
    await until('more', async () => (await payloads(database)).length > goal);
    await cut(database, 'pg-observers channels %');
  }
  await expectEach(database, await stop());
}, 60_000);

test('killed before or after any statement of its session: the other one goes on exactly there', async () => {
  const database = await prepared('kill_statements');
  let others = await startStation(database);
  await others.recorder.ready(10_000);
  const stop = startSending(database);
  for (const moment of ['before', 'after'] as const) {
    for (const statement of [1, 4, 6]) {
      let left = statement;
      let die = () => {};
      const died = new Promise<void>((resolve) => {
        die = resolve;
      });
      const doomed: Station = await startStation(database, {
        wrap: (log) =>
          around(log, async (_name, call) => {
            left -= 1;
            if (left >= 0) return call();
            if (moment === 'after') await call();
            die();
            throw away();
          }),
      });
      await doomed.recorder.ready(500);
      // Its turn to record, and to die while doing so.
      const next = await startStation(database);
      await next.recorder.ready(10_000);
      await others.kill();
      await died;
      await doomed.kill();
      others = next;
      const goal = (await payloads(database)).length + 5;
      await until('more', async () => (await payloads(database)).length > goal);
    }
  }
  await expectEach(database, await stop());
}, 90_000);

test('who comes second on one version writes nothing; a channel is held by one', async () => {
  const database = await prepared('fence');
  const [zombie, successor] = await Promise.all(
    [1, 2].map(() => openNotificationLog(database.url, { process: randomUUID(), timeoutMs: 1_000 })),
  );
  if (zombie === undefined || successor === undefined) throw new Error('no logs');
  onTestFinished(async () => void (await Promise.all([zombie.close(), successor.close()])));
  expect(await zombie.take(['c', 'd'])).toEqual(
    new Map(['c', 'd'].map((channel) => [channel, { mark: 0, count: 0, version: '0' }])),
  );
  expect(await successor.take(['c', 'd'])).toEqual(new Map());
  await zombie.giveBack(['c']);
  expect([...(await successor.take(['c', 'd'])).keys()]).toEqual(['c']);
  const batch = (channel: string, count: number) => ({ channel, version: '0', reaches: { mark: 1, count } });
  const one = (channel: string, payload: string) => ({ channel, source: channel, payload });
  expect(await successor.record([batch('c', 1)], [one('c', '1')])).toEqual(new Set(['c']));
  const written = await zombie.record([batch('c', 1), batch('d', 1)], [one('c', '99'), one('d', '1')]);
  expect(written).toEqual(new Set(['d']));
  expect([await payloads(database), await payloads(database, 'd')]).toEqual([[1], [1]]);
  expect(await successor.look(['c', 'd', 'e'])).toEqual(
    new Map(['c', 'd'].map((channel) => [channel, { mark: 1, count: 1 }])),
  );
});

test('while version 0.1 records, nothing is taken, and nothing is kept to be recorded twice', async () => {
  const database = await prepared('former');
  const former = await database.pool({ max: 1 }).connect();
  onTestFinished(() => former.release(true));
  await former.query('select pg_advisory_lock($1, $2)', [lockClass, locks.formerRecorder]);
  const log = await openNotificationLog(database.url, { process: randomUUID(), timeoutMs: 1_000 });
  onTestFinished(() => log.close());
  expect(await log.take(['c'])).toEqual(new Map());
  expect(await log.look(['c'])).toEqual(new Map([['c', { mark: Number.MAX_SAFE_INTEGER, count: 0 }]]));
  await former.query('select pg_advisory_unlock_all()');
  expect((await log.take(['c'])).size).toBe(1);
});

test('a channel that a reload adds is heard at once, and one that it takes away no more', async () => {
  const database = await prepared('reload_channels');
  const engine = await startEngine(database);
  const stop = startSending(database);
  await engine.reload(database.config({ c: { channel: 'c' }, added: { channel: 'd' } }));
  for (let n = 1; n <= 20; n++) await database.query('select pg_notify($1, $2)', ['d', String(n)]);
  await expectEach(database, 20, 'added');
  await expectEach(database, await stop());
  await engine.reload(oneChannel(database));
  await database.query(`select pg_notify('d', '21'), pg_notify('c', '0')`);
  await until('the other one', async () => (await payloads(database)).at(-1) === 0);
  expect(await payloads(database, 'added')).toHaveLength(20);
  const { rows } = await database.query(
    'select channel, recorder is not null as held from observers.channel_positions order by 1',
  );
  expect(rows).toEqual([
    { channel: 'c', held: true },
    { channel: 'd', held: false },
  ]);
});

test('memory is bounded: what does not fit while the database is away is lost, counted and said', async () => {
  const database = await prepared('bounded');
  let refusing = false;
  const station = await startStation(database, {
    memory: { notifications: 1_000, bytes: 1_000_000 },
    wrap: (log) =>
      around(log, async (name, call) => {
        if (refusing && name === 'record') throw away();
        return call();
      }),
  });
  await station.recorder.ready(10_000);
  refusing = true;
  const heard = () => station.told.filter(({ type }) => type === 'capture.notification').length;
  await database.query(`select pg_notify('c', n::text) from generate_series(1, 3000) n`);
  await until('all to be heard', async () => heard() === 3_000);
  refusing = false;
  await until('the last one', async () => (await payloads(database)).includes(3_000));
  const lost = station.told.flatMap((event) => (event.type === 'capture.lost' ? [event.count] : []));
  const kept = await payloads(database);
  expect(lost.reduce((sum, count) => sum + count, 0) + kept.length).toBe(3_000);
  expect(kept.length).toBeGreaterThan(700);
});
