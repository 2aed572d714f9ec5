import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cases } from './cases.ts';
import { elsewhere } from './elsewhere.ts';
import { page, withTables } from './page.ts';

test('docs/receivers.md shows the cases as they are run', () => {
  const text = readFileSync(page, 'utf8');
  expect(text, 'run `npx tsx test/hostile/page.ts`').toBe(withTables(text));
});

test.each(elsewhere)('$file tests: $title', ({ file, test: name }) => {
  const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  const written = name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  // Run, not only spoken of, and not skipped.
  expect(source).toMatch(new RegExp(`(?:\\btest|\\bit|\\]\\)|\\))\\(\\s*['"\`]${written}['"\`]`));
});

test('every case has a name of its own', () => {
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
});
