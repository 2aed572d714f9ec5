import { expect, test } from 'vitest';
import { defineConfig } from '../../src/config/index.ts';
import type { TelemetryEvent } from '../../src/domain/telemetry.ts';
import { ChannelRecorder } from '../../src/pipeline/capture/channel-recorder.ts';
import type { Notification, NotificationLog } from '../../src/transport/contract.ts';

const config = defineConfig({ version: 1, database: 'postgres://localhost/x', sources: { c: { channel: 'c' } } });

/** A recorder that holds its place, with 1,234 notifications heard while the first batch is being written. */
async function stopped(record: (notifications: readonly Notification[]) => void) {
  const events: TelemetryEvent[] = [];
  const log: NotificationLog = {
    announce: async (token) => recorder.hearMark(`1 ${token}`),
    publish: async () => {},
    take: async (channels) => new Map(channels.map((channel) => [channel, { mark: 1, count: 0, version: '0' }])),
    giveBack: async () => {},
    look: async () => new Map(),
    heardByOthers: async () => false,
    record: async (batches, notifications) => {
      record(notifications);
      return new Set(batches.map(({ channel }) => channel));
    },
    close: async () => {},
  };
  let acquired = () => {};
  const holdsPlace = new Promise<void>((resolve) => {
    acquired = resolve;
  });
  const recorder = new ChannelRecorder({
    openLog: async () => log,
    onEvents: () => {},
    telemetry: (event) => {
      events.push(event);
      if (event.type === 'channel.acquired') acquired();
    },
    isTransient: () => true,
  });
  recorder.load(config);
  recorder.start();
  recorder.listening(['c']);
  await holdsPlace;
  for (let n = 0; n < 1_234; n++) recorder.hear('c', String(n));
  await recorder.stop();
  return events;
}

test('what was heard is recorded before it stops, however much', async () => {
  const recorded: string[] = [];
  await stopped((notifications) => void recorded.push(...notifications.map(({ payload }) => payload)));
  expect(recorded).toEqual(Array.from({ length: 1_234 }, (_, n) => String(n)));
});

test('what could not be recorded at the end is counted and said', async () => {
  const events = await stopped(() => {
    throw new Error('the database is away');
  });
  const failures = events.flatMap((event) => (event.type === 'stage.failed' ? [String(event.error)] : []));
  expect(failures).toEqual(['Error: 1234 notifications were heard and could not be recorded before the end']);
});
