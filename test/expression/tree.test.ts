import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CompileError, compileCondition, compileTree, fires } from '../../src/expression/index.ts';
import { caught, scope } from './record.ts';

describe('a condition tree', () => {
  it('is the expression it stands for', () => {
    const tree = {
      all: [
        { changed: 'status' },
        { 'new.status': 'cancelled' },
        { any: [{ 'old.status': 'paid' }, { 'new.total': { gte: 500, lt: 1e3 } }] },
        { not: { 'new.größe': { in: ['S', 2, null, true] } } },
      ],
    };
    expect(compileTree(tree).source).toBe(
      '("status" in changed && new.status == "cancelled" && (old.status == "paid" || ' +
        '(new.total >= 500 && new.total < 1000)) && !(new["größe"] in ["S", 2, null, true]))',
    );
  });

  it('takes a list of columns as any of them, as UPDATE OF does', () => {
    const changed = compileTree({ changed: ['status', 'total'] });
    const on = (status: string, note: string) =>
      fires(changed.evaluate(scope({ old: '{"status": "a", "note": "a"}', new: JSON.stringify({ status, note }) })));
    expect([on('b', 'a'), on('a', 'b')]).toEqual([true, false]);
  });

  it('quotes what could be mistaken for CEL', () => {
    const hostile = `" || true || "\\'\n\${{ 1 }}\u0000`;
    const on = scope({ new: JSON.stringify({ a: hostile, 'a"] || true || new["b': 1, in: 1 }) });
    expect(fires(compileTree({ 'new.a': hostile }).evaluate(on))).toBe(true);
    expect(fires(compileTree({ 'new.a': `${hostile}x` }).evaluate(on))).toBe(false);
    expect(fires(compileTree({ 'new.in': 1 }).evaluate(on))).toBe(true);
    expect(fires(compileTree({ 'new.a" || true': 1 }).evaluate(on))).toBe(false);
  });

  it('compares numbers exactly', () => {
    const on = scope({ new: '{"id": 9007199254740993, "wei": 123456789012345678901234567890, "total": 100.00}' });
    expect(fires(compileTree({ 'new.id': 9007199254740993n }).evaluate(on))).toBe(true);
    expect(fires(compileTree({ 'new.id': 9007199254740992n }).evaluate(on))).toBe(false);
    expect(fires(compileTree({ 'new.id': { gt: 9007199254740992n } }).evaluate(on))).toBe(true);
    expect(fires(compileTree({ 'new.wei': 123456789012345678901234567890n }).evaluate(on))).toBe(true);
    expect(fires(compileTree({ 'new.wei': 123456789012345678901234567891n }).evaluate(on))).toBe(false);
    expect(fires(compileTree({ 'new.total': 100 }).evaluate(on))).toBe(true);
    expect(fires(compileTree({ 'new.total': '100' }).evaluate(on))).toBe(false);
    expect(fires(compileTree({ 'new.total': { gt: 1e-7, lt: 1e21, ne: -5.5 } }).evaluate(on))).toBe(true);
  });

  it('takes a long list', () => {
    const ids = Array.from({ length: 1000 }, (_, index) => `customer-${index}`);
    const condition = compileTree({ 'new.customer': { in: ids } });
    expect(fires(condition.evaluate(scope({ new: '{"customer": "customer-999"}' })))).toBe(true);
  });

  const refused: readonly [tree: unknown, path: readonly (string | number)[], message: RegExp, hint: RegExp | null][] =
    [
      [{}, [], /empty/, null],
      [[], [], /a map/, /all:/],
      ['new.a == 1', [], /a map/, null],
      [null, [], /a map/, null],
      [{ all: [] }, ['all'], /at least one/, null],
      [{ any: {} }, ['any'], /list/, null],
      [{ al: [] }, ['al'], /Unknown condition: al/, /did you mean all/],
      [{ status: 'paid' }, ['status'], /Unknown condition/, /new\.status/],
      [{ newt: 1 }, ['newt'], /Unknown condition/, null],
      [{ all: [{ 'new.a': 1 }, { changed: 5 }] }, ['all', 1, 'changed'], /name of a column/, null],
      [{ 'new.a': [1, 2] }, ['new.a'], /equal a list/, /in:/],
      [{ 'new.a': {} }, ['new.a'], /empty/, null],
      [{ 'new.a': { gtt: 5 } }, ['new.a', 'gtt'], /Unknown operator/, /did you mean gt/],
      [{ 'new.a': { gt: null } }, ['new.a', 'gt'], /order/, null],
      [{ 'new.a': { in: [1, {}] } }, ['new.a', 'in', 1], /takes a text, a number/, null],
      [{ 'new.a': { in: [] } }, ['new.a', 'in'], /at least one/, null],
      [{ 'new.a': { exists: 'yes' } }, ['new.a', 'exists'], /true or false/, null],
      [{ 'new.a': { starts_with: 5 } }, ['new.a', 'starts_with'], /takes a text/, null],
      [{ 'new.a': { matches: '(' } }, ['new.a', 'matches'], /invalid pattern/, /RE2/],
      [{ 'new.a': Number.NaN }, ['new.a'], /takes a text, a number/, null],
      [{ 'new.': 1 }, ['new.'], /not a field/, null],
      [{ 'new[a]': 1 }, ['new[a]'], /not a field/, null],
      [{ 'event.tennant': 'x' }, ['event.tennant'], /Unknown field of event: tennant/, /did you mean tenant/],
      [{ event: 'x' }, ['event'], /which field/, null],
      [{ 'event.operation': { gt: 5 } }, ['event.operation', 'gt'], /no such overload/, null],
      [
        { not: { all: [{ 'new.a': { constructor: 1 } }] } },
        ['not', 'all', 0, 'new.a', 'constructor'],
        /operator/,
        null,
      ],
    ];
  it.each(refused)('refuses %j with its path', (tree, path, message, hint) => {
    const error = caught(() => compileTree(tree)) as CompileError;
    expect(error).toBeInstanceOf(CompileError);
    expect(error.path).toEqual(path);
    expect(error.message).toMatch(message);
    if (hint !== null) expect(error.hint).toMatch(hint);
  });

  it('refuses deep and wide trees without touching the stack', () => {
    let deep: unknown = { 'new.a': 1 };
    for (let level = 0; level < 100_000; level++) deep = { not: deep };
    expect(caught(() => compileTree(deep))).toBeInstanceOf(CompileError);
    const wide = { all: Array.from({ length: 5000 }, () => ({ 'new.a': 1 })) };
    expect(caught(() => compileTree(wide))).toBeInstanceOf(CompileError);
  });
});

type Scalar = string | number | null;
type Tree = { [key: string]: unknown };

const scalar: fc.Arbitrary<Scalar> = fc.oneof(
  fc.constantFrom('a', 'b', 'ab', '"', '\\'),
  fc.constantFrom(0, 1, 2, -1, 1.5),
  fc.constant(null),
);
const field = fc.constantFrom('new.a', 'new.b', 'old.a', 'old.c');
const number = fc.constantFrom(0, 1, 1.5, 2);
const leaf: fc.Arbitrary<Tree> = fc.oneof(
  fc.constantFrom('a', 'b', 'c').map((name) => ({ changed: name })),
  fc.tuple(field, scalar).map(([name, value]) => ({ [name]: value })),
  fc.tuple(field, scalar).map(([name, value]) => ({ [name]: { ne: value } })),
  fc.tuple(field, fc.array(scalar, { minLength: 1, maxLength: 3 })).map(([name, value]) => ({ [name]: { in: value } })),
  fc.tuple(field, fc.boolean()).map(([name, value]) => ({ [name]: { exists: value } })),
  fc.tuple(fc.constantFrom('gt', 'gte', 'lt', 'lte'), number).map(([name, value]) => ({ 'new.n': { [name]: value } })),
  fc
    .tuple(fc.constantFrom('contains', 'starts_with', 'ends_with'), fc.constantFrom('', 'a', 'b'))
    .map(([name, value]) => ({ 'new.s': { [name]: value } })),
);
const tree = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.array(tie('tree'), { minLength: 1, maxLength: 3 }).map((all) => ({ all })),
    fc.array(tie('tree'), { minLength: 1, maxLength: 3 }).map((any) => ({ any })),
    tie('tree').map((not) => ({ not })),
    fc.tuple(leaf, leaf).map(([one, other]) => ({ ...one, ...other })),
  ),
})).tree;

const row = fc.record(
  { a: scalar, b: scalar, c: scalar, n: fc.oneof(number, fc.constant(null)), s: fc.constantFrom('', 'ab', 'b', null) },
  { requiredKeys: [] },
) as fc.Arbitrary<Record<string, Scalar>>;

/** What a tree means, said a second time and without CEL. */
function meaning(tree: Tree, before: Record<string, Scalar> | null, after: Record<string, Scalar>): boolean {
  return Object.entries(tree).every(([key, value]) => {
    if (key === 'all') return (value as Tree[]).every((inner) => meaning(inner, before, after));
    if (key === 'any') return (value as Tree[]).some((inner) => meaning(inner, before, after));
    if (key === 'not') return !meaning(value as Tree, before, after);
    if (key === 'changed') return before !== null && before[value as string] !== after[value as string];
    const [side, name = ''] = key.split('.');
    const found = (side === 'new' ? after : before)?.[name] ?? null;
    if (value === null || typeof value !== 'object') return found === value;
    return Object.entries(value).every(([operator, wanted]) => test(operator, found, wanted));
  });
}

function test(operator: string, found: Scalar, wanted: unknown): boolean {
  if (operator === 'exists') return (found !== null) === wanted;
  if (operator === 'ne') return found !== wanted;
  if (operator === 'in') return (wanted as Scalar[]).includes(found);
  if (found === null) return false;
  if (operator === 'gt') return Number(found) > Number(wanted);
  if (operator === 'gte') return Number(found) >= Number(wanted);
  if (operator === 'lt') return Number(found) < Number(wanted);
  if (operator === 'lte') return Number(found) <= Number(wanted);
  if (operator === 'contains') return String(found).includes(wanted as string);
  return operator === 'starts_with'
    ? String(found).startsWith(wanted as string)
    : String(found).endsWith(wanted as string);
}

describe('tree and expression', () => {
  it('mean the same, and what the grammar says', () => {
    fc.assert(
      fc.property(tree, fc.option(row), row, (given, before, after) => {
        const on = scope({
          operation: before === null ? 'insert' : 'update',
          old: before === null ? null : JSON.stringify(before),
          new: JSON.stringify(after),
        });
        const compiled = compileTree(given);
        const result = fires(compiled.evaluate(on));
        expect(result).toBe(meaning(given, before, after));
        expect(fires(compileCondition(compiled.source).evaluate(on))).toBe(result);
      }),
      { numRuns: 500 },
    );
  });
});
