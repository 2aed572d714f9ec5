import { describe, expect, it } from 'vitest';
import { ExpressionError, type Scope } from '../../src/domain/expression.ts';
import { CompileError, compileCondition, compileExpression, compileTree, fires } from '../../src/expression/index.ts';
import { caught, scope } from './record.ts';

const update = scope({
  old: '{"id": 42, "status": "open", "total": 100.0}',
  new: '{"id": 42, "status": "paid", "total": 100.00, "note": null, "active": true, "code": "100", "tags": ["vip", "eu"], "größe": "XL", "paid_at": "2026-11-20T12:00:00.123456+00:00", "due": "2026-11-21", "until": "infinity", "constructor": "Lego"}',
});
const insert = scope({ operation: 'insert', new: '{"id": 42, "total": 7}' });
const emitted = scope({ operation: 'emit', payload: '{"user": {"id": 7}, "items": [{"sku": "a"}]}' });

const holds = (source: string, on: Scope = update): boolean => fires(compileCondition(source).evaluate(on));

describe('a condition', () => {
  it.each([
    '"status" in changed && new.status == "paid" && new.total >= 100',
    'new.total == 100 && new.total == 100.0 && new.total * 2 == 200 && 1 + new.total > 100.5',
    'new.total / 3 > 33.3 && new.total % 3 == 1 && 1000 / new.total == 10.0 && -new.total < 0',
    'new.active',
    'new["größe"] == "XL"',
    'new.constructor == "Lego"',
    '"vip" in new.tags && new.tags.contains("eu") && new.tags.exists(tag, tag.startsWith("v"))',
    'new.id in [1, "x", null, 42]',
    'event.id.size() == 36 && event.source == "orders" && event.operation == "update" && event.table == "public.orders"',
    'event.key == "42" && event.tenant == null && event.context == {} && event.context.user == null',
    'ts(event.at) - ts(new.paid_at) == duration("0s")',
    'ts(new.until) > ts(new.paid_at) && ts(new.due) - date(new.paid_at) == duration("1d")',
    'ts("2026-11-20T13:00:00+01:00") == ts("2026-11-20 12:00:00") && ts(1795176000) > ts("2026-11-20")',
    'ts("2026-07-01").getDayOfYear() == 181 && ts("2026-07-01T23:00:00Z").getDayOfYear("Asia/Tokyo") == 182',
    'new.status.replace("a", "o").upper() == "POID" && " x ".trim() == "x" && "ÄB".lower() == "äb"',
    'string(new.note) == "" && string(new.tags) == "[\\"vip\\",\\"eu\\"]" && string({"a": 1}) == "{\\"a\\":1}"',
    'string(ts("2026-11-20")) == "2026-11-20T00:00:00.000Z" && urlencode("a b/ü&") == "a%20b%2F%C3%BC%26"',
    'has(new.note) && !has(new.missing) && new.?missing.orValue(5) == 5',
    'new.status.matches("^p.i")',
    'duration("1d12h") == duration("36h") && duration("1w") > duration("6.5d")',
  ])('holds: %s', (source) => {
    expect(holds(source)).toBe(true);
  });

  it('compares texts and numbers only by what they are', () => {
    expect(holds('new.code == 100')).toBe(false);
    expect(holds('new.code == "100"')).toBe(true);
    expect(caught(() => holds('new.code > 99'))).toBeInstanceOf(ExpressionError);
  });

  it('fires on true and on nothing else', () => {
    expect([true, 1, 'true', null, {}].map(fires)).toEqual([true, false, false, false, false]);
    expect(holds('new.status')).toBe(false);
    expect(holds('new.missing')).toBe(false);
  });

  it('parses each text once for all who use the scope', () => {
    const first = compileExpression('new.tags').evaluate(update);
    expect(compileExpression('new.tags').evaluate(update)).toBe(first);
  });

  it('takes a hand-made scope', () => {
    expect(fires(compileCondition('new.id == 42').evaluate({ record: insert.record }))).toBe(true);
  });
});

describe('what is missing is null and does not match, in both forms', () => {
  const cases: readonly [source: string, tree: unknown, on: Scope, expected: boolean][] = [
    ['old.status == "paid"', { 'old.status': 'paid' }, insert, false],
    ['old.status != "paid"', { 'old.status': { ne: 'paid' } }, insert, true],
    ['old.total > 5', { 'old.total': { gt: 5 } }, insert, false],
    ['old.total <= 5', { 'old.total': { lte: 5 } }, insert, false],
    ['old.a.b.c == null', { 'old.a.b.c': null }, insert, true],
    ['old == null', { old: null }, insert, true],
    ['new.missing == null', { 'new.missing': null }, insert, true],
    ['new.missing in [1, 2]', { 'new.missing': { in: [1, 2] } }, insert, false],
    ['!(new.missing in [1, 2])', { 'new.missing': { not_in: [1, 2] } }, insert, true],
    ['new.missing.startsWith("a")', { 'new.missing': { starts_with: 'a' } }, insert, false],
    ['new.missing.endsWith("a")', { 'new.missing': { ends_with: 'a' } }, insert, false],
    ['new.missing.contains("a")', { 'new.missing': { contains: 'a' } }, insert, false],
    ['new.missing.matches("a")', { 'new.missing': { matches: 'a' } }, insert, false],
    ['new.note != null', { 'new.note': { exists: true } }, update, false],
    ['payload.user.id == 7', { 'payload.user.id': 7 }, emitted, true],
    ['payload.user.name == "x"', { 'payload.user.name': 'x' }, emitted, false],
    ['payload.items[0].sku == "a"', { 'payload.items[0].sku': 'a' }, emitted, true],
    ['payload.items[9].sku == "a"', { 'payload.items[9].sku': 'a' }, emitted, false],
    ['payload.none.at.all == 1', { 'payload.none.at.all': 1 }, emitted, false],
    ['new.x == 1', { 'new.x': 1 }, emitted, false],
  ];
  it.each(cases)('%s', (source, tree, on, expected) => {
    expect(fires(compileCondition(source).evaluate(on))).toBe(expected);
    expect(fires(compileTree(tree).evaluate(on))).toBe(expected);
  });

  it('is null in calculations and after functions', () => {
    for (const source of ['new.total - old.total > 1', 'old.name.lower() == "x"', 'ts(old.at) > ts(event.at)']) {
      expect(holds(source, insert)).toBe(false);
    }
    expect(compileExpression('ts(old.at) - ts(event.at)').evaluate(insert)).toBeNull();
    expect(holds('"vip" in old.tags', insert)).toBe(false);
    expect(holds('has(payload.none.at.all)', emitted)).toBe(false);
  });
});

describe('an evaluation that makes no sense is an ExpressionError', () => {
  it.each([
    'new.status > 5',
    'new.status.name == "x"',
    '!new.note',
    'new.note && new.active',
    'ts(new.status) > ts(event.at)',
    'int(new.status) == 1',
    'new.id.startsWith("4")',
    'ts(event.at).getHours("Mars/Olympus") == 1',
    '9223372036854775807 + int(new.id) > 1',
    'changed[99] == "x"',
  ])('%s', (source) => {
    const condition = compileCondition(source);
    const error = caught(() => condition.evaluate(update));
    expect(error).toBeInstanceOf(ExpressionError);
    expect((error as ExpressionError).expression).toBe(source);
    expect((error as ExpressionError).message).toContain(source);
  });

  it('says where', () => {
    const error = caught(() => compileCondition('new.id == 42 && new.status > 5').evaluate(update));
    expect(String(error)).toBe(
      'ExpressionError: no such overload: dyn<string> > int at character 17 of new.id == 42 && new.status > 5',
    );
  });

  it('bounds what loops may do', () => {
    const list = JSON.stringify(Array.from({ length: 2000 }, (_, index) => index));
    const rows = scope({ new: `{"a": ${list}}` });
    expect(holds('new.a.all(x, x >= 0)', rows)).toBe(true);
    const quadratic = compileCondition('new.a.all(x, new.a.all(y, x + y >= 0))');
    expect(String(caught(() => quadratic.evaluate(rows)))).toContain('loops over more than');
    expect(fires(quadratic.evaluate(scope({ new: '{"a": [1, 2]}' })))).toBe(true);
  });

  it('bounds what replace may build', () => {
    const grow = compileExpression(`new.s${'.replace("a", "aaaaaaaaaaaaaaaaaaaa")'.repeat(20)}`);
    expect(String(caught(() => grow.evaluate(scope({ new: '{"s": "a"}' }))))).toContain('replace() would make');
  });
});

describe('a condition is refused at load, with position', () => {
  const refused: readonly [source: string, offset: number, message: RegExp, hint: RegExp | null][] = [
    ['', 0, /empty/, null],
    ['  \n ', 0, /empty/, null],
    ['new.a == "x', 9, /Unterminated string/, null],
    ['new.a = 1', 6, /Unexpected character/, /==/],
    ['new.a == 1 and new.b == 2', 11, /Unexpected character/, /&&/],
    ['new.a == ', 9, /the end of the expression/, null],
    ['(new.a == 1', 11, /Expected \), got the end/, null],
    ['new.a == 1 && nwe.b == 2', 14, /Unknown variable: nwe/, /did you mean new/],
    ['status == "paid"', 0, /Unknown variable: status/, /new\.status/],
    ['event.tennant == "x"', 6, /No such key: tennant/, /did you mean tenant/],
    ['new.a.startWith("x")', 6, /Unknown function: startWith/, /did you mean startsWith/],
    ['uperAscii(new.a)', 0, /Unknown function/, /upperAscii/],
    ['event.source > 5', 0, /no such overload: string > int/, null],
    ['"paid"', 0, /a condition is true or false/, /==/],
    ['new.a + 1 > 2 ? "a" : "b"', 0, /a condition is true or false/, null],
    ['new.a.matches("(a")', 14, /invalid pattern: missing closing \)/, /RE2/],
    ['new.a.matches("(?=a)b")', 14, /invalid pattern/, /look-around/],
    ['new.a.matches(new.b)', 14, /literal text/, /data/],
    [`new.a.matches("${'a'.repeat(1001)}")`, 14, /longer than 1000/, null],
    ['duration("soon") > duration("1d")', 9, /not a duration/, /1d12h/],
    ['duration(new.a) > duration("1d")', 9, /literal/, null],
    ['new.a.all(x, x.all(y, y.all(z, true)))', 22, /nested too deeply/, null],
    ['cel.bind(x, 1, x > 0)', 4, /Unknown function: bind/, null],
    [`${'('.repeat(200)}true${')'.repeat(200)}`, 64, /maxDepth/, null],
    [`${'!'.repeat(4000)}true`, 250, /nested too deeply/, null],
    [`true${' && true'.repeat(400)}`, 4, /nested too deeply/, null],
    [`new.a == "${'x'.repeat(4090)}"`, 4096, /limit is 4096/, null],
  ];
  it.each(refused)('%s', (source, offset, message, hint) => {
    const error = caught(() => compileCondition(source)) as CompileError;
    expect(error).toBeInstanceOf(CompileError);
    expect(error.message).toMatch(message);
    if (hint !== null) expect(error.hint).toMatch(hint);
    expect(error.path).toEqual([]);
    // A chain leans to the left: which of its operators is the 251st is nobody's concern.
    if (!source.startsWith('true')) expect(error.offset).toBe(offset);
  });

  it('takes 4 KiB', () => {
    const text = 'x'.repeat(4096 - 'new.a == ""'.length);
    expect(fires(compileCondition(`new.a == "${text}"`).evaluate(scope({ new: `{"a": "${text}"}` })))).toBe(true);
  });

  it('allows loops beside each other and a loop in a loop', () => {
    expect(() => compileCondition('new.a.filter(x, x > 1).map(x, x + 1).exists(x, new.b.all(y, y > x))')).not.toThrow();
  });
});

describe('a pattern', () => {
  it('takes linear time, whatever it is', () => {
    const on = scope({ new: JSON.stringify({ a: `${'a'.repeat(100_000)}!` }) });
    expect(holds('new.a.matches("(a+)+$")', on)).toBe(false);
    expect(holds('new.a.matches("(a|aa)*$") || new.a.matches("^(([a-z])+.)+[A-Z]([a-z])+$")', on)).toBe(true);
  });

  it('is found anywhere unless anchored', () => {
    expect(holds('new.status.matches("ai")')).toBe(true);
    expect(holds('new.status.matches("^ai$")')).toBe(false);
  });
});
