import { describe, expect, onTestFinished, test } from 'vitest';
import { createEngine, type Engine } from '../../src/engine.ts';
import { createCaptureDatabase, until } from './support.ts';

const database = await createCaptureDatabase('channels');
const config = database.config({
  payments: { channel: 'payment_events' },
  audit: { channel: 'Größe "7"' },
});
await database.observe({});

async function startEngine(): Promise<Engine> {
  const engine = createEngine(config);
  onTestFinished(() => engine.stop({ timeoutMs: 1_000 }));
  await engine.start();
  return engine;
}

async function notify(channel: string, payload: string): Promise<void> {
  await database.query('select pg_notify($1, $2)', [channel, payload]);
}

async function events(count: number) {
  await until(`${count} events`, async () => {
    const { rows } = await database.query<{ n: number }>('select count(*)::int as n from observers.events');
    return (rows[0]?.n ?? 0) >= count;
  });
  return database.takeEvents();
}

describe('a notification becomes an event', () => {
  test('as it came: JSON as JSON, everything else as a string of it', async () => {
    await startEngine();
    const payloads: [sent: string, kept: string][] = [
      ['', '""'],
      ['paid', '"paid"'],
      ['{"id": 9007199254740993, "total": 100.00}', '{"id": 9007199254740993, "total": 100.00}'],
      ['[1, 2', '"[1, 2"'],
      ['42', '42'],
      ['null', 'null'],
      ['"text"', '"text"'],
      ['{"a": "\\u0000"}', '"{\\"a\\": \\"\\\\u0000\\"}"'],
      ['żółć 🐘', '"żółć 🐘"'],
      ['x'.repeat(7_999), `"${'x'.repeat(7_999)}"`],
    ];
    for (const [sent] of payloads) await notify('payment_events', sent);
    const seen = await events(payloads.length);
    expect(seen.map((e) => e.payload)).toEqual(payloads.map(([, kept]) => kept));
    expect(seen.every((e) => e.source === 'payments' && e.operation === 'notify' && e.new === null)).toBe(true);
    // One byte more is PostgreSQL's own error, in the transaction of whoever sends it.
    await expect(notify('payment_events', 'x'.repeat(8_000))).rejects.toThrow('payload string too long');
  });

  test('several channels, a thousand of one transaction, in their order', async () => {
    await startEngine();
    await database.query(`do $$ begin for n in 1..1000 loop
      perform pg_notify('payment_events', n::text); perform pg_notify('Größe "7"', n::text); end loop; end $$`);
    const seen = await events(2_000);
    expect(seen).toHaveLength(2_000);
    for (const source of ['payments', 'audit']) {
      const numbers = seen.filter((e) => e.source === source).map((e) => Number(e.payload));
      expect(numbers).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
    }
  });

  test('with two engines, one event', async () => {
    const [first, second] = [await startEngine(), await startEngine()];
    for (let n = 1; n <= 50; n++) await notify('payment_events', String(n));
    expect(await events(50)).toHaveLength(50);
    // The other one takes over when the recording one goes.
    await first.stop();
    await until('the second engine to record', async () => {
      await notify('payment_events', '"after"');
      return (await database.takeEvents()).length > 0;
    });
    await second.stop();
    await database.takeEvents();
  });
});
