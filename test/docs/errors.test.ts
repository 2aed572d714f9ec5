import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { errorCodes } from '../../src/domain/error-codes.ts';
import { UserError } from '../../src/domain/errors.ts';
import { readPage } from './snippets.ts';

const root = new URL('../../src/', import.meta.url).pathname;
const page = readPage('docs/errors.md');
const entries = page.split(/^### /m).slice(1);

test('each code has one entry, and each entry is of a code', () => {
  expect(entries.map((entry) => entry.split('\n')[0]).sort()).toEqual([...errorCodes].sort());
});

test.each(entries.map((entry) => [entry.split('\n')[0], entry] as const))(
  '%s says what happened and what to do',
  (_, entry) => {
    const text = entry.split('\n').slice(1).join(' ').split(/ ## /)[0]?.trim() ?? '';
    expect(text.length).toBeGreaterThan(40);
    expect(text).toMatch(/\.$/);
  },
);

test('each code is used, and none is written that is not declared', () => {
  const used = new Set<string>();
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file === 'domain/error-codes.ts') continue;
    for (const [code] of readFileSync(root + file, 'utf8').matchAll(/\bPGO-[A-Z]+(-[A-Z]+)*/g)) used.add(code);
  }
  expect([...used].sort()).toEqual([...errorCodes].sort());
});

test('what names no code has the one of its exit status', () => {
  expect([1, 2, 3].map((status) => new UserError('x', status as 1 | 2 | 3).code)).toEqual([
    'PGO-FAILED',
    'PGO-USAGE',
    'PGO-UNREACHABLE',
  ]);
});
