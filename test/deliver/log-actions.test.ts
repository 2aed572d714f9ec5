// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${{ }} is the format's own syntax here
import { expect, test } from 'vitest';
import { createLogger, logTelemetry } from '../../src/telemetry/log.ts';
import { drained, emit, eventually, migrated, rules, run } from './fixture.ts';

test('a log action writes a line of its own, without secrets, and needs nothing declared', async () => {
  const database = await migrated('log_action');
  const lines: string[] = [];
  const config = rules(
    database.url,
    {
      observers: {
        order: {
          source: 'orders',
          actions: [
            {
              log: 'order ${{ payload.id }}: ${{ payload.note }} ${TOKEN}',
              level: 'warn',
              fields: {
                total: '${{ payload.total }}',
                big: '${{ payload.big }}',
                nested: { note: '${{ payload.note }}' },
              },
            },
            { log: 'broken ${{ int(payload.note) }}', name: 'broken' },
          ],
        },
      },
    },
    { TOKEN: 's3cret-t0ken' },
  );
  const { engine, told } = await run(config);
  engine.subscribe(logTelemetry(createLogger('debug', undefined, { write: (line) => void lines.push(line) })));
  const note = 'two\nlines "quoted" ${{ payload.id }} s3cret-t0ken';
  const uid = await emit(database, { id: 7, total: 1.5, big: 9007199254740993n.toString(), note });
  await drained(database, 2);
  const line = await eventually('the line', () => lines.find((one) => one.includes('action.logged')));
  expect(line.trimEnd()).not.toContain('\n');
  expect(JSON.parse(line)).toMatchObject({
    level: 'warn',
    event: 'action.logged',
    event_uid: uid,
    source: 'orders',
    observer: 'order',
    action: 'log-1',
    destination: 'log',
    fields: { total: 1.5, big: '9007199254740993', nested: { note: note.replace('s3cret-t0ken', '[redacted]') } },
    msg: `order 7: ${note.replace('s3cret-t0ken', '[redacted]')} [redacted]`,
  });
  expect(JSON.stringify(told)).not.toMatch(/"(?:message|fields)":[^}]*s3cret/);
  const { rows } = await database.query('select action, reason from observers.dead_letters');
  expect(rows).toEqual([{ action: 'broken', reason: 'engine_fault' }]);
});
