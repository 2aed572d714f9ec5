// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { expect, test } from 'vitest';
import { ConfigError } from '../../src/domain/errors.ts';
import { caught, record } from '../expression/record.ts';
import { parse, shop } from './support.ts';

/** The only problem of the file as `line:column` and the text that begins there. */
function pointedAt(yaml: string, env: Record<string, string> = {}): { at: string; message: string } {
  try {
    parse(yaml, env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.problems).toHaveLength(1);
    const { line = 0, column = 0, message = '' } = error.problems[0] ?? {};
    return { at: yaml.split('\n')[line - 1]?.slice(column - 1) ?? '', message };
  }
  throw new Error('the file was accepted');
}

const rule = (body: string): string =>
  shop(`observers:\n  paid:\n    source: orders\n${body}\n    actions: [{ webhook: billing }]\n`);
const body = (text: string): string =>
  shop(`observers:\n  paid:\n    source: orders\n    actions:\n      - webhook: billing\n        body: ${text}\n`);

test.each([
  ['plain', rule('    when: new.total > 5 && nwe.id == 1')],
  ['single quotes', rule("    when: 'new.a == ''x'' && nwe.total > 5'")],
  ['double quotes', rule('    when: "new.a == \\"x\\" && new.b == \\"\\u0041\\\\n\\" && nwe.total > 5"')],
  ['literal block', rule('    when: |\n      new.total > 5\n        && nwe.total == 1')],
  ['folded block', rule('    when: >-\n      new.total > 5\n\n      && nwe.total == 1')],
  ['plain on two lines', rule('    when: new.total > 5\n      && nwe.total == 1')],
  ['carriage returns', rule('    when: |\n      new.total > 5\n        && nwe.total == 1').replaceAll('\n', '\r\n')],
  ['beyond the basic plane', rule('    when: new.a == "😀" && nwe.total > 5')],
  ['a template', body('Order ${{ nwe.id }}')],
  ['a template in a list', body('[1, { a: "${{ nwe.id }}" }]')],
  ['behind a variable', body('${SHOP} ${{ nwe.id }}')],
  ['behind an escape', body('$${SHOP} ${{ nwe.id }}')],
  ['behind a byte order mark', `\uFEFF${rule('    when: nwe.total > 5')}`],
])('an error in an expression points at the character: %s', (_, yaml) => {
  const { at, message } = pointedAt(yaml, { SHOP: 'a much longer value than its name' });
  expect(at).toMatch(/^nwe\./);
  expect(message).toContain('nwe');
});

test('an error inside a variable points at the variable and does not quote its value', () => {
  const { at, message } = pointedAt(rule('    when: new.total > ${LIMIT}'), { LIMIT: 'oops_4711' });
  expect(at).toBe('${LIMIT}');
  expect(message).toBe('`when` does not compile once its variables are filled in');
});

test('an error in a condition tree points at its node', () => {
  expect(pointedAt(rule('    when:\n      all:\n        - new.total: { gtee: 5 }')).at).toBe('gtee: 5 }');
  expect(pointedAt(rule('    when:\n      any:\n        - nwe.total: 5')).at).toBe('nwe.total: 5');
});

test('an error in aliased content points at the anchor', () => {
  const yaml = 'version: 1\nsources:\n  a: &shared { table: orders, operatoins: [insert] }\n  b: *shared\n';
  // One place, and in both sources the same mistake: told for each of them.
  expect(() => parse(yaml)).toThrow(/:3:31 {2}unknown key `operatoins` in source `a`.*\n.*:3:31 .* in source `b`/);
});

test('positions in the configuration are those of the keys', () => {
  const config = parse(body('x'));
  expect(config.sources.get('pings')?.position).toEqual({ line: 4, column: 3 });
  expect(config.observers.get('paid')?.position).toEqual({ line: 11, column: 3 });
  expect(config.observers.get('paid')?.actions[0]?.position).toEqual({ line: 14, column: 9 });
});

test('a template that fails on an event says where its expression stands', () => {
  const config = parse(`version: 1
sources: { orders: { table: orders } }
observers:
  paid:
    source: orders
    actions:
      - webhook: https://example.com
        body:
          fine: \${{ new.id }}
          note: "Order \${{ new.id }} of \${{ int(new.name) }}"
          list: ["\${{ new.name > 5 }}"]
`);
  const [action] = config.observers.get('paid')?.actions ?? [];
  if (action?.kind !== 'webhook' || action.body === null) throw new Error('no body');
  const failing = { record: { ...record(), new: '{"id": 1, "name": "ann"}' } };
  expect(caught(() => action.body?.renderJson(failing))).toMatchObject({ place: 'observers.yaml:10:41' });
});
