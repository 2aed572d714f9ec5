// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { defineConfig, parseConfig } from '../../src/config/index.ts';
import { ConfigError } from '../../src/domain/errors.ts';

const example = readFileSync(new URL('../../observers.example.yaml', import.meta.url), 'utf8');
const marker = 'Zq8x-unmistakable';
const env = {
  DATABASE_URL: `postgres://u:${marker}@localhost/x`,
  V: marker,
  OPS_URL: `https://${marker}.example`,
  EMPTY: '',
};

/** Either a configuration, or problems that stand in the text and keep the environment to themselves. */
function holds(text: string): void {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  try {
    parseConfig(text, { file: 'f', env, readFile: () => marker });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.problems.length).toBeGreaterThan(0);
    for (const { line, column, message, hint } of error.problems) {
      expect(Number.isInteger(line) && line >= 1 && line <= lines.length).toBe(true);
      expect(Number.isInteger(column) && column >= 1 && column <= (lines[line - 1]?.length ?? 0) + 1).toBe(true);
      expect(message.trim()).not.toBe('');
      expect(`${message} ${hint}`).not.toContain(marker);
    }
  }
}

const punctuation = [
  '${',
  '}',
  '${{',
  '}}',
  '$$',
  ': ',
  '- ',
  '[',
  ']',
  '{',
  '}',
  ', ',
  '"',
  "'",
  '\n',
  '  ',
  '|',
  '>',
  '&a',
  '*a',
  '#',
  '!',
  '\\',
  '\r',
  '\uFEFF',
  '\u0000',
  '😀',
  '?',
  '@',
  '`',
  '%',
  '---',
  '<<: ',
];
const words = [
  'version: 1',
  'sources',
  'destinations',
  'observers',
  'when',
  'actions',
  'webhook',
  'table',
  'V',
  '${V}',
  '${V:-x}',
  '${file:/x}',
  '${{ new.a }}',
  '1',
  '1e3',
  '.inf',
  '~',
  'true',
  '__proto__',
  'constructor',
];
const snippet = fc.oneof(
  fc.constantFrom(...punctuation),
  fc.constantFrom(...words),
  fc.string({ maxLength: 6, unit: 'binary' }),
);
const soup = fc.array(snippet, { maxLength: 40 }).map((parts) => parts.join(''));

test('any text', () => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), soup), holds), { numRuns: 1_500 });
});

test('the example, damaged', () => {
  const damage = fc.record({ at: fc.nat(example.length), removed: fc.nat(12), inserted: fc.oneof(snippet, soup) });
  const mutations = fc.array(damage, { minLength: 1, maxLength: 4 });
  const mutate = (text: string, { at, removed, inserted }: { at: number; removed: number; inserted: string }): string =>
    text.slice(0, at) + inserted + text.slice(at + removed);
  fc.assert(
    fc.property(mutations, (list) => holds(list.reduce(mutate, example))),
    { numRuns: 400 },
  );
});

const keys = [
  'version',
  'database',
  'sources',
  'destinations',
  'observers',
  'defaults',
  'settings',
  'table',
  'channel',
  'topic',
  'operations',
  'columns',
  'webhook',
  'email',
  'slack',
  'url',
  'secret',
  'headers',
  'smtp',
  'from',
  'token',
  'webhook_url',
  'api_url',
  'timeout',
  'retry',
  'attempts',
  'initial',
  'max',
  'factor',
  'circuit_breaker',
  'source',
  'on',
  'when',
  'order_by',
  'expression',
  'on_dead',
  'block',
  'actions',
  'name',
  'body',
  'to',
  'subject',
  'text',
  'blocks',
  'listen',
  'retention',
  'events',
  'all',
  'new.a',
  '0',
];
const scalar = fc.oneof(
  fc.constantFrom(
    ...words,
    ...punctuation,
    1,
    0,
    -1,
    1.5,
    1e21,
    true,
    null,
    'a',
    'insert',
    '10s',
    '10/s',
    'https://x.example',
    'smtp://x',
    'key',
    'new.a == 1',
  ),
  fc.string(),
  fc.double(),
);
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof({ depthSize: 'medium', withCrossShrink: true }, scalar, tie('list'), tie('map'), tie('map')),
  list: fc.array(tie('tree'), { maxLength: 3 }),
  map: fc.dictionary(
    fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...keys) }, { weight: 1, arbitrary: fc.string() }),
    tie('tree'),
    { maxKeys: 5 },
  ),
}));
const section = fc.dictionary(fc.constantFrom('a', 'b'), tree, { maxKeys: 2 });
const shaped = fc.record({
  version: fc.constant(1),
  sources: section,
  destinations: section,
  observers: section,
  settings: tree,
  defaults: tree,
});

test('structures that look like a configuration', () => {
  fc.assert(
    fc.property(fc.oneof(tree, shaped), (value) => holds(stringify(value))),
    { numRuns: 800 },
  );
});

test('objects given to defineConfig', () => {
  fc.assert(
    fc.property(fc.oneof(shaped, fc.anything({ withBigInt: true, withDate: true, withMap: true })), (value) => {
      try {
        defineConfig(value as Parameters<typeof defineConfig>[0], { env });
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
      }
    }),
    { numRuns: 500 },
  );
});

test.each([
  ['brackets', '['.repeat(20_000)],
  ['braces', '{a: '.repeat(20_000)],
  ['dashes', '- '.repeat(20_000)],
  ['question marks', '? '.repeat(20_000)],
  ['dashes on lines', Array.from({ length: 900 }, (_, i) => `${' '.repeat(i)}-`).join('\n')],
  [
    'aliases of aliases',
    `version: 1\n${Array.from({ length: 30 }, (_, i) => `k${i}: &k${i} [${`*k${i - 1},`.repeat(i === 0 ? 0 : 10)} x]`).join('\n')}`,
  ],
  ['17 megabytes', `version: 1\ndatabase: "${'x'.repeat(17_000_000)}"`],
  ['many variables', `version: 1\ndatabase: "${'${V}'.repeat(50_000)}"`],
  ['unclosed templates', `version: 1\ndatabase: "${'${{'.repeat(50_000)}"`],
  ['half-closed templates', `version: 1\ndatabase: "${'${{ }x}'.repeat(100_000)}"`],
  ['many unset variables', `version: 1\ndatabase: "${'${X}'.repeat(50_000)}"`],
  ['a long key', `version: 1\n${'k'.repeat(100_000)}: 1`],
])('a hostile file is refused: %s', (_, text) => {
  expect(() => holds(text)).not.toThrow();
  expect(() => parseConfig(text, { file: 'f', env })).toThrow(ConfigError);
});
