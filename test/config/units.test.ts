import { expect, test } from 'vitest';
import { formatDuration, parseDuration, parseRate } from '../../src/config/index.ts';

test.each([
  ['100ms', 100],
  ['10s', 10_000],
  ['1.5s', 1_500],
  ['5m', 300_000],
  ['2h', 7_200_000],
  ['7d', 604_800_000],
  ['10', null],
  ['10 s', null],
  ['-1s', null],
  ['1e3s', null],
  ['s', null],
  ['1w', null],
])('duration %s', (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each([
  [1, '1ms'],
  [1_500, '1500ms'],
  [90_000, '90s'],
  [600_000, '10m'],
  [86_400_000, '1d'],
])('%i milliseconds are written %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
  expect(parseDuration(text)).toBe(ms);
});

test.each([
  ['100/s', { count: 100, perMs: 1_000 }],
  ['6000/m', { count: 6_000, perMs: 60_000 }],
  ['10/h', { count: 10, perMs: 3_600_000 }],
  ['0.5/s', null],
  ['10/d', null],
  ['100', null],
])('rate %s', (text, rate) => {
  expect(parseRate(text)).toEqual(rate);
});
