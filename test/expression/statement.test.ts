// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${{ }} is what is under test.
import { expect, test } from 'vitest';
import { CompileError, compileStatement } from '../../src/expression/index.ts';
import { caught, scope } from './record.ts';

const row = scope({
  new: '{"id": 42, "total": 12345678901234567890.10, "name": "x\'); drop table t; --", "vip": true, "tags": ["a", 1.50], "note": null}',
});

test('each expression becomes a parameter, and no value is part of the SQL', () => {
  const { text, parameters } = compileStatement(
    "insert into t values (${{ new.id }}, ${{ new.name }}, 'it''s ok; ${fine}', ${{new.total}}) -- end",
  );
  expect(text).toBe("insert into t values ( $1 ,  $2 , 'it''s ok; ${fine}',  $3 ) -- end");
  expect(parameters.map((parameter) => parameter.renderJson(row))).toEqual([
    '42',
    JSON.stringify("x'); drop table t; --"),
    '12345678901234567890.10',
  ]);
});

test('what is quoted or commented is passed over', () => {
  const fine = [
    'select "odd ; name" from t;',
    "select E'it\\'s; x', ${{ new.id }}",
    'select $tag$ ; $1 ${x} $tag$, $$;$$, ${{ new.id }}',
    '/* commit; /* nested */ */ select ${{ new.id }} -- ; select 2\n;  ',
    'with gone as (delete from a where id = ${{ new.id }} returning *) insert into b select * from gone',
    'select a$1 from t where b=${{ new.id }}or c',
    "select U&'\\0441', N'x', b'1', x'ff', 1e5, 't'",
    'call proc(${{ new.id }})',
  ];
  for (const statement of fine) expect(() => compileStatement(statement)).not.toThrow();
});

test.each([
  ["insert into t values ('${{ new.id }}')", 23, 'an expression inside a quoted text'],
  ["select 'order ${{ new.id }} is paid'", 14, 'an expression inside a quoted text'],
  ["select E'\\'${{ new.id }}'", 11, 'an expression inside a quoted text'],
  ['select * from "${{ new.id }}"', 15, 'an expression inside a quoted name'],
  ['select $$ ${{ new.id }} $$', 10, 'an expression inside a dollar-quoted text'],
  ['select 1 -- ${{ new.id }}', 12, 'an expression inside a comment'],
  ['select 1 /* ${{ new.id }} */', 12, 'an expression inside a comment'],
  ['select 1; select ${{ new.id }}', 10, 'a second statement'],
  ['select 1; ${{ new.id }}', 10, 'a second statement'],
  ['select 1; /* x */ commit', 18, 'a second statement'],
  ['commit', 0, 'a `commit` can’t be an action'],
  ['  -- x\n ROLLBACK', 8, 'a `rollback` can’t be an action'],
  ["prepare transaction 'x'", 0, 'a `prepare` can’t be an action'],
  ['set role admin', 0, 'a `set` can’t be an action'],
  ['select $1', 7, '$1 is written by hand'],
  ["select 'x", 7, 'the statement ends inside a quoted text'],
  ['select /* x', 7, 'the statement ends inside a comment'],
  ['-- nothing', 0, 'there is no statement'],
  ['select ${{ nwe.id }}', 11, 'Unknown variable: nwe'],
])('%s is refused with the place', (statement, offset, message) => {
  const error = caught(() => compileStatement(statement));
  expect(error).toBeInstanceOf(CompileError);
  expect(error).toMatchObject({ message, offset });
});
