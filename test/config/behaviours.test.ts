// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
/** What a whole file promises about its conditions and templates; the details stand in test/expression. */
import { describe, expect, test } from 'vitest';
import type { WebhookAction } from '../../src/domain/rules.ts';
import { createScope, fires } from '../../src/expression/index.ts';
import { record } from '../expression/record.ts';
import { messagesOf, parse, shop } from './support.ts';

const observing = (when: string, body = '{}') =>
  shop(`observers:
  o:
    source: orders
    when: ${when}
    actions: [{ webhook: billing, body: ${body} }]
`);

function observer(when: string, body?: string) {
  const found = parse(observing(when, body)).observers.get('o');
  if (found === undefined) throw new Error('there is no observer o');
  return found;
}

function firesOn(when: string, row: string): boolean {
  return fires(observer(when).when?.evaluate(createScope(record({ new: row }))));
}

describe('a missing field is null, the same in an expression and in a tree', () => {
  test.each([
    ['\'new.status == "paid"\'', '{ new.status: paid }'],
    ['\'new.status != "paid"\'', '{ new.status: { ne: paid } }'],
    ["'new.total > 5'", '{ new.total: { gt: 5 } }'],
    ["'new.status == null'", '{ new.status: null }'],
    ['\'new.status in ["paid"]\'', '{ new.status: { in: [paid] } }'],
  ])('%s and %s', (expression, tree) => {
    for (const row of ['{}', '{"status": null, "total": null}', '{"status": "paid", "total": 9}']) {
      expect(firesOn(tree, row), row).toBe(firesOn(expression, row));
    }
    // Missing and null are one thing.
    expect(firesOn(expression, '{}')).toBe(firesOn(expression, '{"status": null, "total": null}'));
  });
});

test("'100' is not 100, and 100 is 100.00; in expressions and in trees", () => {
  for (const when of ["'new.total == 100'", '{ new.total: 100 }', '{ new.total: { in: [100] } }']) {
    expect(firesOn(when, '{"total": 100.00}'), when).toBe(true);
    expect(firesOn(when, '{"total": 1e2}'), when).toBe(true);
    expect(firesOn(when, '{"total": "100"}'), when).toBe(false);
  }
  expect(firesOn('\'new.total == "100"\'', '{"total": 100}')).toBe(false);
});

describe('a condition that can never be evaluated is refused at load, at its place', () => {
  test.each([
    ['empty', '""', 11, /empty|no value/],
    ['white space', "'   '", 11, /empty/],
    ['an unknown function', "'new.total > sqrt(4)'", 24, /sqrt/],
    ['an unknown variable', "'nwe.total > 4'", 12, /nwe.*new/],
    ['an unterminated string', `'new.status == "paid'`, 26, /string/i],
    ['an unclosed bracket', "'(new.total > 4'", 26, /end of the expression/],
    ['what is no pattern', '\'new.a.matches("(a+")\'', 26, /pattern|regular|missing/i],
    ['text that is no condition', '\'"paid"\'', 12, /true or false|bool/],
  ])('%s', (_, when, column, message) => {
    const [first = '', ...others] = messagesOf(observing(when));
    expect(first).toMatch(message);
    expect(others).toEqual([]);
    const [, line, at] = /^observers\.yaml:(\d+):(\d+)/.exec(first) ?? [];
    expect(Number(line)).toBe(13);
    expect(Number(at)).toBe(column);
  });

  test('too long and too deep', () => {
    const long = `'${Array.from({ length: 5_000 }, (_, n) => `new.a == ${n}`).join(' || ')}'`;
    const deep = `'${'('.repeat(2_000)}new.a == 1${')'.repeat(2_000)}'`;
    const loops = "'new.a.all(x, new.b.all(y, new.c.all(z, x == y)))'";
    for (const when of [long, deep, loops]) expect(messagesOf(observing(when))).toHaveLength(1);
  });

  test('a pattern that would take others minutes takes no time', () => {
    expect(firesOn('\'new.a.matches("^(a+)+$")\'', JSON.stringify({ a: `${'a'.repeat(5_000)}!` }))).toBe(false);
  });
});

describe('a value can inject nothing into what is sent', () => {
  const hostile = 'a"b\\c\n\r\t\u0000</script> ${{ new.secret }} ${SECRET} {{x}}';
  const row = JSON.stringify({ name: hostile, secret: 'geheim' });
  const bodyOn = (body: string) => {
    const [action] = observer("'true'", body).actions as readonly WebhookAction[];
    return action?.body?.renderJson(createScope(record({ new: row }))) ?? '';
  };

  test('neither structure nor a second expansion', () => {
    expect(JSON.parse(bodyOn('{ name: "${{ new.name }}", text: "Hello ${{ new.name }}!" }'))).toEqual({
      name: hostile,
      text: `Hello ${hostile}!`,
    });
    expect(bodyOn('{ name: "${{ new.name }}" }')).not.toContain('geheim');
  });

  test('nor a key: one holds no template', () => {
    const [message] = messagesOf(observing("'true'", '{ "${{ new.name }}": 1, b: 2 }'));
    expect(message).toContain('a key is taken literally');
  });
});

describe('a secret that is missing or empty is refused at load: nothing is ever sent unsigned', () => {
  const secret = (value: string) =>
    `version: 1\nsources: { orders: { table: orders } }\ndestinations: { b: { webhook: { url: https://example.com/, secret: ${value} } } }\n` +
    'observers: { o: { source: orders, actions: [{ webhook: b }] } }\n';

  test.each([
    ['an unset variable', '"${NOWHERE}"'],
    ['an empty variable', '"${EMPTY}"'],
    ['an empty default', '"${NOWHERE:-}"'],
    ['an empty text', '""'],
    ['null', 'null'],
    ['a missing file', '"${file:/nowhere/at/all}"'],
    ['a list with an empty one', '["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "${EMPTY}"]'],
  ])('%s', (_, written) => {
    const messages = messagesOf(secret(written));
    expect(messages[0]).toMatch(/^observers\.yaml:3:\d+ {2}/);
    expect(messages.join()).not.toContain('whsec_');
  });
});
