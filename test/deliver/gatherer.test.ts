import { describe, expect, test } from 'vitest';
import { type Rendered, splitOff } from '../../src/pipeline/deliver/combined-attempt.ts';
import { Gatherer } from '../../src/pipeline/deliver/gatherer.ts';
import { WaitingLine } from '../../src/pipeline/deliver/waiting-line.ts';
import type { ClaimedDelivery } from '../../src/transport/contract.ts';

const gathering = { waitMs: 1_000, enough: 3, most: 3, maxBytes: 100, perItem: false };

function claim(id: number, more: object = {}, event: object | null = {}): ClaimedDelivery {
  const delivery = {
    id: String(id),
    observer: 'o',
    action: 'a',
    tenant: null,
    attempts: 0,
    deadLetterId: null,
    ...more,
  };
  return { delivery, event, bytes: 1 } as unknown as ClaimedDelivery;
}

const idsOf = (claims: readonly ClaimedDelivery[]) => claims.map(({ delivery }) => Number(delivery.id));

describe('a claim that got all it asked for', () => {
  const [one, two] = [{ together: '2026-11-21 12:00:00+00' }, { together: '2026-11-21 12:00:00.5+00' }];
  const claims = [claim(1, one), claim(2, one), claim(3, two), claim(4, two)];

  test('leaves the last that failed together for the next one: the rest of it may not be there', () => {
    expect(idsOf(new Gatherer(gathering).cutOff(claims, 4))).toEqual([3, 4]);
  });

  test('keeps it when there was no more, when it is whole, and when there is nothing else', () => {
    const gatherer = new Gatherer(gathering);
    expect(gatherer.cutOff(claims.slice(0, 2), 5)).toEqual([]);
    expect(gatherer.cutOff([claim(0), ...[1, 2, 3].map((id) => claim(id, two))], 4)).toEqual([]);
    expect(
      gatherer.cutOff(
        [3, 4].map((id) => claim(id, two)),
        2,
      ),
    ).toEqual([]);
    expect(
      gatherer.cutOff(
        [1, 2, 3, 4].map((id) => claim(id)),
        4,
      ),
    ).toEqual([]);
  });
});

describe('a turn', () => {
  const turnOf = (claims: readonly ClaimedDelivery[], gatherer = new Gatherer(gathering)) => {
    const line = new WaitingLine();
    for (const one of claims) line.add(one);
    const head = line.head(() => true);
    if (head === undefined) throw new Error('an empty line');
    line.take(head);
    return { taken: idsOf([head, ...gatherer.takeWith(head, line)]), left: line.size };
  };

  test('takes what may belong together and leaves other actions, tenants, replays, and what failed in another request', () => {
    const others = [
      { action: 'b' },
      { observer: 'p' },
      { tenant: 't' },
      { deadLetterId: '7' },
      { attempts: 1, together: 'x' },
    ];
    const claims = [claim(1), ...others.map((more, i) => claim(10 + i, more)), claim(2), claim(3)];
    expect(turnOf(claims)).toEqual({ taken: [1, 2, 3], left: 5 });
  });

  test('with a large event is that one alone, and no turn takes it along', () => {
    expect(turnOf([claim(1, {}, null), claim(2)])).toEqual({ taken: [1], left: 1 });
    expect(turnOf([claim(1), claim(2, {}, null), claim(3)])).toEqual({ taken: [1, 3], left: 1 });
  });

  test('of what was put back takes what was found to be alike, as much as a request holds', () => {
    const gatherer = new Gatherer(gathering);
    const line = new WaitingLine();
    const claims = [1, 2, 3, 4, 5, 6].map((id) => claim(id));
    gatherer.putBack(
      claims.map((one, i) => [one, i === 1 ? 'other' : 'same'] as const),
      line,
    );
    const head = line.head(() => true);
    if (head === undefined) throw new Error('an empty line');
    line.take(head);
    expect(idsOf([head, ...gatherer.takeWith(head, line)])).toEqual([1, 3, 4]);
    expect(line.size).toBe(3);
  });
});

describe('a request', () => {
  const rendered = (id: number, key: string, bytes = 1) => ({ claimed: claim(id), key, bytes }) as unknown as Rendered;
  const split = (...members: Rendered[]) =>
    splitOff(members, gathering).map((some) => idsOf(some.map((m) => m.claimed)));

  test('holds what has the key of the first, up to its most', () => {
    const [a, b] = ['a', 'b'];
    expect(split(rendered(1, a), rendered(2, b), rendered(3, a), rendered(4, a), rendered(5, a))).toEqual([
      [1, 3, 4],
      [2, 5],
    ]);
  });

  test('holds so many bytes, or one that has more; none passes by one that found no room', () => {
    expect(split(rendered(1, 'a', 60), rendered(2, 'a', 60), rendered(3, 'a', 1))).toEqual([[1], [2, 3]]);
    expect(split(rendered(1, 'a', 500), rendered(2, 'a', 1))).toEqual([[1], [2]]);
    expect(split()).toEqual([[], []]);
  });
});
