import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { parseConfig } from '../../src/config/index.ts';
import { messagesOf, shop } from './support.ts';

/** The cases of messages.txt: `## title`, the file, and a line `→ …` for each thing that is told. */
const cases = readFileSync(new URL('messages.txt', import.meta.url), 'utf8')
  .split(/^## /m)
  .slice(1)
  .map((section) => {
    const [title = '', ...lines] = section.trimEnd().split('\n');
    const told = lines.filter((line) => line.startsWith('→ ')).map((line) => line.replace('→ ', 'observers.yaml:'));
    const yaml = lines.filter((line) => !line.startsWith('→ ')).map((line) => `${line}\n`);
    return { title, yaml: title.startsWith('shop, ') ? shop(yaml.join('')) : yaml.join(''), told };
  });

test('the table is there', () => {
  expect(cases.length).toBeGreaterThan(90);
});

test.each(cases)('$title', ({ yaml, told }) => {
  expect(messagesOf(yaml)).toEqual(told);
});

/** There, ajv wrote the validator when it was built (`src/config/write-validators.ts`). */
test('the built program says the same of each, without ajv', async () => {
  const dist = new URL('../../dist/config/', import.meta.url);
  const built: { parseConfig: typeof parseConfig } = await import(`${dist}index.js`);
  const told = cases.map(({ title, yaml }) => [title, messagesOf(yaml, {}, (...given) => built.parseConfig(...given))]);
  expect(told).toEqual(cases.map(({ title, told: lines }) => [title, lines]));
  for (const name of ['validator.js', 'rule-tests/validator.js'])
    expect(readFileSync(new URL(name, dist), 'utf8')).not.toMatch(/ajv|compile-validator/);
});
