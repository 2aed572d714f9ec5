import { describe, expect, test } from 'vitest';
import { ChannelMemory, type Next } from '../../src/pipeline/capture/channel-memory.ts';

function memoryOf(bounds = { notifications: 1_000, bytes: 1_000_000 }) {
  const memory = new ChannelMemory(bounds);
  const hear = (from: number, to: number, channel = 'c') => {
    for (let n = from; n <= to; n++) memory.hear(channel, [channel], String(n));
  };
  return { memory, hear };
}

/** Payloads, with what was lost before them; or what the gap leads to. */
function told(next: Next) {
  if (next.kind === 'gap') return next.until;
  return [...(next.lost > 0 ? [`${next.lost} lost`] : []), ...next.notifications.map(({ payload }) => Number(payload))];
}

describe('a position that another process wrote', () => {
  test('at a mark that was heard: skip what it counts, the rest follows', () => {
    const { memory, hear } = memoryOf();
    memory.begin('c', 1);
    hear(1, 3);
    memory.mark(2);
    hear(4, 8);
    expect(told(memory.next('c', { mark: 1, count: 0 }, 100))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(told(memory.next('c', { mark: 1, count: 3 }, 2))).toEqual([4, 5]);
    expect(told(memory.next('c', { mark: 2, count: 0 }, 2))).toEqual([4, 5]);
    expect(told(memory.next('c', { mark: 2, count: 4 }, 100))).toEqual([8]);
    expect(told(memory.next('c', { mark: 2, count: 5 }, 100))).toEqual([]);
  });

  test('ahead of what was heard, in count or by a mark that is still to come: nothing until that is heard, too', () => {
    const { memory, hear } = memoryOf();
    memory.begin('c', 1);
    hear(1, 3);
    for (const position of [
      { mark: 1, count: 5 },
      { mark: 2, count: 0 },
    ]) {
      expect(told(memory.next('c', position, 100))).toEqual([]);
    }
    memory.forget('c', { mark: 2, count: 1 });
    hear(4, 5);
    memory.mark(2);
    hear(6, 8);
    expect(told(memory.next('c', { mark: 2, count: 1 }, 100))).toEqual([7, 8]);
    expect(told(memory.next('c', { mark: 1, count: 5 }, 100))).toEqual([6, 7, 8]);
  });

  test('older than the own first mark: all since then follows, for its writer had not heard that mark', () => {
    // What a writer says of any place at or behind a mark that it heard names that mark, or a later one.
    const { memory: writer, hear } = memoryOf();
    writer.begin('c', 4);
    hear(1, 3);
    writer.mark(7);
    for (let n = 0; n <= 2; n++) expect(writer.after('c', { mark: 4, count: 0 }, n)).toEqual({ mark: 4, count: n });
    expect(writer.after('c', { mark: 4, count: 0 }, 3)).toEqual({ mark: 7, count: 0 });
    hear(4, 5);
    expect(writer.after('c', { mark: 4, count: 2 }, 2)).toEqual({ mark: 7, count: 1 });

    const { memory: other, hear: otherHears } = memoryOf();
    other.begin('c', 7);
    otherHears(4, 5);
    expect(told(other.next('c', { mark: 4, count: 3 }, 100))).toBe(7);
    expect(told(other.next('c', { mark: 7, count: 0 }, 100))).toEqual([4, 5]);
  });
});

test('a lost connection ends a stretch; what it left is told before the gap, and forgotten when recorded', () => {
  const { memory, hear } = memoryOf();
  memory.begin('c', 1);
  hear(1, 3);
  memory.end();
  hear(98, 99); // before the mark came back
  memory.begin('c', 5);
  hear(7, 8);
  expect(told(memory.next('c', { mark: 1, count: 1 }, 100))).toEqual([2, 3]);
  expect(told(memory.next('c', { mark: 1, count: 3 }, 100))).toBe(5);
  // Somebody else heard more than we did, before and after our connection was lost.
  expect(told(memory.next('c', { mark: 1, count: 4 }, 100))).toBe(5);
  expect(told(memory.next('c', { mark: 3, count: 1 }, 100))).toBe(5);
  expect(memory.since()).toEqual(new Map([['c', 1]]));
  memory.forget('c', { mark: 1, count: 3 });
  expect(memory.since()).toEqual(new Map([['c', 5]]));
  expect(memory.notifications).toBe(2);
  memory.end();
  memory.forget('c', { mark: 5, count: 2 });
  expect([memory.knows('c'), memory.notifications]).toEqual([false, 0]);
});

test('beyond its bounds the oldest go, whatever their channel, and are counted when they are missed', () => {
  const { memory, hear } = memoryOf({ notifications: 80, bytes: 1_000_000 });
  for (const channel of ['c', 'd']) memory.begin(channel, 1);
  hear(1, 50);
  hear(1, 50, 'd');
  expect(memory.notifications).toBeLessThanOrEqual(80);
  const next = told(memory.next('c', { mark: 1, count: 5 }, 3)) as unknown[];
  const lost = Number.parseInt(String(next[0]), 10);
  expect(lost).toBeGreaterThanOrEqual(15);
  expect(next).toEqual([`${lost} lost`, lost + 6, lost + 7, lost + 8]);
  expect(told(memory.next('c', { mark: 1, count: lost + 5 }, 1))).toEqual([lost + 6]);
  expect(told(memory.next('d', { mark: 1, count: 0 }, 2))).toEqual([1, 2]);
  // Nothing that others recorded is missed.
  expect(told(memory.next('c', { mark: 1, count: 49 }, 2))).toEqual([50]);

  const { memory: small } = memoryOf({ notifications: 1_000, bytes: 20_000 });
  small.begin('c', 1);
  for (let n = 0; n < 10; n++) small.hear('c', ['c'], 'x'.repeat(7_999));
  expect(small.notifications).toBe(2);
});
