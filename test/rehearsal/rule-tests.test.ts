import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { loadRuleTests } from '../../src/config/rule-tests/read.ts';
import { ConfigError, formatProblem } from '../../src/domain/errors.ts';
import { RuleIndex } from '../../src/pipeline/decide/rule-index.ts';
import { junitXml } from '../../src/rehearsal/junit.ts';
import { differences } from '../../src/rehearsal/partial-match.ts';
import { runTest, type TestResult } from '../../src/rehearsal/rule-test.ts';

const rules = `version: 1
database: \${NO_SUCH_DATABASE}
sources:
  orders: { table: public.orders, operations: [insert, update], columns: [id, status, total, tenant_id], tenant: tenant_id }
  signups: { topic: signup_topic }
  payments: { channel: pay }
destinations:
  hook:
    webhook: { url: "\${HOOK_URL}", secret: ["\${NEW_SECRET}", "\${file:/no/such/secret}"], headers: { authorization: "Bearer \${TOKEN}" } }
    concurrency: \${PLACES}
  mail: { email: { smtp: "\${SMTP}", from: "\${FROM}" } }
observers:
  paid:
    source: orders
    on: [update]
    when: '"status" in changed && new.status == "paid" && new.total > 1000'
    actions:
      - { webhook: hook, body: { id: "\${{ new.id }}", total: "\${{ new.total }}", region: "\${REGION}" } }
      - { email: mail, to: "\${{ new.status }}@example.org", subject: "\${{ event.tenant }}", text: "\${{ event.key }}" }
  broken: { source: orders, on: [insert], when: new.total > "1", actions: [{ webhook: "\${ANY_URL}" }] }
  joined: { source: signups, when: payload.plan == "pro", actions: [{ webhook: hook }] }
  money: { source: payments, actions: [{ webhook: hook, headers: { x-amount: "\${{ payload.amount }}" } }] }
`;

async function run(tests: string): Promise<TestResult[]> {
  const folder = await mkdtemp(join(tmpdir(), 'rule-tests-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'observers.yaml'), rules);
  const file = join(folder, 'observers.test.yaml');
  await writeFile(file, tests);
  const loaded = await loadRuleTests(file);
  const index = new RuleIndex(loaded.config);
  return Promise.all(loaded.tests.map((one) => runTest(one, loaded.config, index)));
}

const one = (given: string, expected: string, more = '') =>
  `version: 1\n${more}tests:\n  - name: it\n    given: ${given}\n    expect: ${expected}\n`;

/** What is told of each test that failed. */
async function told(tests: string): Promise<string[]> {
  return (await run(tests)).flatMap(({ failures }) =>
    failures.flatMap(({ message, differences: found }) => [
      message,
      ...found.map((d) => `${d.path}: ${d.expected} / ${d.actual}`),
    ]),
  );
}

async function problemsOf(tests: string): Promise<string[]> {
  const error = await run(tests).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConfigError)) throw new Error(`not refused: ${String(error)}`);
  return error.problems.map((problem) => formatProblem(problem).replace(/^.*\/(?=observers)/, ''));
}

const bigPaid =
  '{ update: orders, old: { status: open }, new: { id: 12345678901234567890, status: paid, total: 1500.00, tenant_id: 3 } }';

describe('a test passes', () => {
  test('with variables unset, secrets too, and numbers digit for digit', async () => {
    const expected = `
      only: [paid]
      requests:
        paid:
          webhook-1:
            method: POST
            headers: { authorization: "[redacted]" }
            body: { id: 12345678901234567890, total: 1.5e3, region: REGION }
          email-2: { to: paid@example.org, subject: "3", text: "12345678901234567890" }`;
    expect(await told(one(bigPaid, expected))).toEqual([]);
    expect(
      await told(
        one(bigPaid, '{ requests: { paid: { webhook-1: { body: { region: eu } } } } }', 'env: { REGION: eu }\n'),
      ),
    ).toEqual([]);
  });

  test.each([
    ['{ update: orders, old: { status: paid }, new: { status: paid, total: 5000 } }', '[]'],
    ['{ insert: orders, new: { total: 5 } }', '{ only: [], faults: [broken] }'],
    ['{ insert: orders, new: { total: 5 } }', '{ not: [paid], faults: [broken] }'],
    ['{ emit: signups, payload: { plan: pro } }', '[joined]'],
    ['{ emit: signups }', '[]'],
    [
      '{ notify: payments, payload: { amount: 1.50 } }',
      '{ requests: { money: { webhook-1: { headers: { x-amount: "1.50" } } } } }',
    ],
    ['{ read: orders, new: { id: 1 } }', '[]'],
    [
      '{ update: orders, old: {}, new: {}, key: k, tenant: null, at: "2026-01-02T00:00:00.000000Z", context: { by: ada } }',
      '[]',
    ],
  ])('%s, %s', async (given, expected) => {
    expect(await told(one(given, expected))).toEqual([]);
  });
});

describe('a test fails', () => {
  test.each([
    [bigPaid, '[]', ['paid fires, and should not']],
    [bigPaid, '{ not: [paid] }', ['paid fires, and should not']],
    [bigPaid, '{ faults: [paid] }', ['paid should be an engine fault, and fires']],
    ['{ emit: signups, payload: {} }', '[joined]', ['joined should fire, and does not']],
    ['{ emit: signups, payload: {} }', '{ fires: [paid] }', ['paid should fire, and observes another source']],
    ['{ read: orders, new: {} }', '[paid]', ['paid should fire, and listens only to update']],
    [
      '{ insert: orders, new: { total: 5 } }',
      '[]',
      [expect.stringMatching(/^broken is an engine fault: no such overload/)],
    ],
    [
      '{ insert: orders, new: { total: 5 } }',
      '[broken]',
      [expect.stringMatching(/^broken should fire, and is an engine fault/)],
    ],
    [
      bigPaid,
      '{ requests: { paid: { webhook-1: { body: { total: "1500.00", note: x }, url: http://other } } } }',
      [
        'the request of paid/webhook-1 is otherwise',
        'body.total: "1500.00" / 1500.00',
        'body.note: "x" / null',
        'url: "http://other" / "http://stand-in.invalid/HOOK_URL"',
      ],
    ],
  ])('%s, %s', async (given, expected, failures) => {
    expect(await told(one(given, expected))).toEqual(failures);
  });

  test('and a request that can’t be rendered says why', async () => {
    const given = bigPaid.replace('status: paid', 'status: paid, total: 2000').replace('total: 1500.00, ', '');
    const broken = given.replace('status: paid', 'status: "paid"');
    expect(await told(one(broken, '{ requests: { paid: { email-2: { subject: "4" } } } }'))).toEqual([
      'the request of paid/email-2 is otherwise',
      'subject: "4" / "3"',
    ]);
  });
});

test('what is wrong with a file is told at its place, all at once', async () => {
  expect(
    await problemsOf(`version: 1
tests:
  - name: it
    given: { update: ordrs, old: { status: open } }
    expect: [payd]
  - name: it
    given: { insert: payments, old: {} }
    expect: { requests: { paid: { webhook-9: {} }, nobody: { a: {} } } }
  - name: uncaptured
    given: { delete: orders, old: { secret: 1 } }
    expect: []
  - name: empty
    given: { update: orders }
    expect: []
`),
  ).toEqual([
    'observers.test.yaml:4:22  there is no source `ordrs`  (did you mean orders?)',
    'observers.test.yaml:5:14  there is no observer `payd`  (did you mean paid?)',
    'observers.test.yaml:6:11  another test is named `it`',
    'observers.test.yaml:7:5  `insert` needs the row `new`',
    'observers.test.yaml:7:22  source `payments` is a channel, and `insert` needs a table  (such as orders)',
    'observers.test.yaml:7:32  `insert` has no `old`  (remove it)',
    'observers.test.yaml:8:35  observer `paid` has no action `webhook-9`  (it has webhook-1, email-2)',
    'observers.test.yaml:8:52  there is no observer `nobody`',
    'observers.test.yaml:10:14  source `orders` captures no delete  (it captures `insert`, `update` and `read`)',
    'observers.test.yaml:10:37  source `orders` does not capture the column `secret`  (add it to `columns`, or remove it here)',
    'observers.test.yaml:13:5  `update` needs the rows `old` and `new`',
  ]);
  expect(
    await problemsOf(`version: 2
tests:
  - name: it
    given: { insert: orders, delete: orders }
    expects: []
  - given: { insert: orders, id: x, at: yesterday }
    expect: { only: paid, nope: 1 }
  - 7
`),
  ).toEqual([
    'observers.test.yaml:1:10  `version` must be `1`, not `2`',
    'observers.test.yaml:4:30  `given` has `insert` and `delete`  (keep one of them)',
    'observers.test.yaml:5:5  unknown key `expects` in test 1  (did you mean expect?)',
    'observers.test.yaml:6:5  test 2 has no `name`',
    "observers.test.yaml:6:34  `id` can't be `x`  (a UUID in lower case)",
    "observers.test.yaml:6:41  `at` can't be `yesterday`  (written as 2026-01-01T00:00:00.000000Z)",
    'observers.test.yaml:7:21  `only` must be a list, not text  (write [a, b])',
    'observers.test.yaml:7:27  unknown key `nope` in `expect`  (known: only, fires, not, faults, requests)',
    'observers.test.yaml:8:5  test 3 must be a mapping, not a number',
  ]);
  expect(await problemsOf('version: 1\n')).toEqual(['observers.test.yaml:1:1  the file has no `tests`']);
  expect(await problemsOf('a: [')).toHaveLength(1);
});

describe('a partial match', () => {
  test.each([
    ['{"a": 1}', '{"a": 1.00, "b": 2}', []],
    ['{"a": [1, {"b": 2}]}', '{"a": [1, {"b": 2, "c": 3}]}', []],
    ['{"a": [1]}', '{"a": [1, 2]}', ['a']],
    ['{"a": {"b c": 1}}', '{"a": {}}', ['a["b c"]']],
    ['{"a": {"b": 1}}', '{"a": "{\\"b\\": 1}"}', []],
    ['{"a": "x"}', '{"a": ["x"]}', []],
    ['{"a": "1"}', '{"a": 1}', ['a']],
    ['{"a": null}', '{}', ['a']],
    ['9007199254740993', '9007199254740992', ['']],
    ['-0.0', '0', []],
    ['1e2', '100.0', []],
    ['0.1', '1', ['']],
  ])('of %s with %s', (expected, actual, paths) => {
    expect(differences(expected, actual).map(({ path }) => path)).toEqual(paths);
  });

  test('finds nothing in itself, and something in another number', () => {
    fc.assert(fc.property(fc.json(), (json) => differences(json, json).length === 0));
    fc.assert(
      fc.property(fc.bigInt(), fc.bigInt(), (a, b) => (differences(String(a), String(b)).length === 0) === (a === b)),
    );
  });
});

test('JUnit’s XML holds whatever a name or a value holds', async () => {
  const [result] = await run(one(bigPaid, '[]'));
  if (result === undefined) throw new Error('no result');
  const named = { ...result, test: { ...result.test, name: 'a <b> & "c" \u0000' } };
  const xml = junitXml('x.yaml', [named, { ...named, failures: [] }], () => '\u001b[31mred\u001b[39m ]]>');
  expect(xml).toContain('<testsuite name="x.yaml" tests="2" failures="1">');
  expect(xml).toContain(
    '<testcase name="a &lt;b&gt; &amp; &quot;c&quot; \ufffd" classname="x.yaml" file="x.yaml" line="3"><failure message="paid fires, and should not">red ]]&gt;</failure></testcase>',
  );
  expect(xml).toContain('line="3"/>');
});
