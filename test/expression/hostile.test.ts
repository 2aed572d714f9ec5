// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${{ }} is what is under test.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExpressionError } from '../../src/domain/expression.ts';
import { CompileError, compileCondition, compileTemplate, compileTree } from '../../src/expression/index.ts';
import { caught, scope } from './record.ts';

const on = scope({
  old: '{"a": 1, "b": "x"}',
  new: '{"a": 12345678901234567890, "b": null, "c": [1, "y", {"d": 2.50}]}',
});

const words = [
  ...['new', 'old', 'payload', 'event', 'changed', 'cel', 'optional', 'google', 'constructor', '__proto__', 'x', 'in'],
  ...['.a', '.b', '.c', '.?d', '.toString()', '[0]', '["a"]', '[?1]', '.all(x,', '.map(x,', '.exists_one(x,', 'has('],
  ...['.matches("(a+)+$")', '.matches(', '.contains(', '.size()', 'size(', 'ts(', 'date(', 'duration("1d")', 'string('],
  ...[
    '.bind(',
    '.orValue(',
    'type(',
    'raw(',
    'int(',
    'double(',
    'bytes(',
    '.replace("a", "b")',
    '.join()',
    'timestamp(',
  ],
  ...['1', '-', '9223372036854775807', '1e308', '0xff', '5u', '"s"', 'b"s"', 'r"\\d"', 'null', 'true', "'", '"', '"""'],
  ...[
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    ',',
    ':',
    '?',
    '!',
    '&&',
    '||',
    '==',
    '<',
    '>=',
    '+',
    '*',
    '/',
    '%',
    ' ',
    '\n',
    '//',
  ],
];

const source = fc.oneof(
  fc.array(fc.constantFrom(...words), { maxLength: 40 }).map((parts) => parts.join('')),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.tuple(fc.constantFrom(...words), fc.integer({ min: 1, max: 5000 })).map(([word, count]) => word.repeat(count)),
);

/** What compiles is also run: nothing but an ExpressionError may come out. */
function outcome(compile: () => { run(): unknown }): unknown {
  const compiled = attempt(compile);
  if (compiled instanceof CompileError) return 'refused';
  const error = caught(() => (compiled as { run(): unknown }).run());
  return error === undefined || error instanceof ExpressionError ? 'sound' : error;
}

function attempt(compile: () => unknown): unknown {
  try {
    return compile();
  } catch (error) {
    return error;
  }
}

describe('hostile sources', () => {
  it('compile or are refused, and run or fail as an ExpressionError', () => {
    fc.assert(
      fc.property(source, (text) => {
        const result = outcome(() => {
          const condition = compileCondition(text);
          return { run: () => condition.evaluate(on) };
        });
        expect(['sound', 'refused']).toContain(result);
      }),
      { numRuns: 3000 },
    );
  });

  it('as templates', () => {
    const template = fc.array(fc.oneof(fc.constantFrom('${{', '}}', '${{ new.a }}'), source), { maxLength: 5 });
    fc.assert(
      fc.property(template, (parts) => {
        const result = outcome(() => {
          const compiled = compileTemplate(parts.join(''), 'html');
          return { run: () => [compiled.renderText(on), JSON.parse(compiled.renderJson(on)), compiled.render(on)] };
        });
        expect(['sound', 'refused']).toContain(result);
      }),
      { numRuns: 1500 },
    );
  });

  it('as trees', () => {
    const keys = ['all', 'any', 'not', 'changed', 'new.a', 'old.b', 'new["x', 'event.key', 'in', 'gt', 'matches', 'eq'];
    const tree = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.anything({ withBigInt: true, withDate: true, withMap: true }),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...keys), tie('tree'), { maxKeys: 3 }),
      ),
    })).tree;
    fc.assert(
      fc.property(tree, (value) => {
        const result = outcome(() => {
          const condition = compileTree(value);
          return { run: () => condition.evaluate(on) };
        });
        expect(['sound', 'refused']).toContain(result);
      }),
      { numRuns: 1500 },
    );
  });
});
