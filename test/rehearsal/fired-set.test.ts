import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FiredSet } from '../../src/rehearsal/fired-set.ts';

test('has what was added, and nothing else', () => {
  const pair = fc.tuple(fc.integer({ min: 1, max: 5_000 }).map(String), fc.constantFrom('a', 'b', 'c', 'other'));
  fc.assert(
    fc.property(fc.array(pair, { maxLength: 3_000 }), fc.array(pair, { maxLength: 50 }), (added, asked) => {
      const set = new FiredSet(['a', 'b', 'c']);
      for (const [id, observer] of added) set.add(id, observer);
      for (const id of [...asked, ...added.slice(0, 50)].map(([one]) => one)) {
        const fired = added.filter(([other, observer]) => other === id && observer !== 'other').map(([, name]) => name);
        expect(set.of(id)).toEqual([...new Set(fired)].sort());
      }
    }),
    { numRuns: 50 },
  );
  expect(new FiredSet([]).of('1')).toEqual([]);
});
