import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
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
