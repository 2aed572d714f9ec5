import { expect, test } from 'vitest';
import { createRandom } from './random.ts';

const draw = (seed: number, label: string) => {
  const random = createRandom(seed).fork(label);
  return Array.from({ length: 20 }, () => random.below(1_000));
};

test('a seed decides everything, and another one decides otherwise', () => {
  expect(draw(1, 'a')).toEqual(draw(1, 'a'));
  expect(draw(2, 'a')).not.toEqual(draw(1, 'a'));
});

test('sources of one seed do not disturb each other', () => {
  expect(draw(1, 'b')).not.toEqual(draw(1, 'a'));
  const random = createRandom(1);
  random.next();
  expect(random.fork('a').below(1_000)).toBe(draw(1, 'a')[0]);
});

test('every value has its share', () => {
  const random = createRandom(3);
  const counts = [0, 0, 0, 0];
  for (let n = 0; n < 4_000; n++) {
    const value = random.below(4);
    counts[value] = (counts[value] ?? 0) + 1;
  }
  for (const count of counts) expect(count).toBeGreaterThan(800);
  expect(() => random.pick([])).toThrow('nothing to pick from');
});
