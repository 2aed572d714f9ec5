import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { delivered, rejected, retry } from '../../src/actions/outcomes.ts';
import { formatPattern, parsePattern } from '../../src/domain/outcome-pattern.ts';
import {
  builtInOutcomes,
  OutcomePolicy,
  type OutcomeRule,
  type Verdict,
  verdicts,
} from '../../src/domain/outcome-policy.ts';

const failure = (errorClass: string, status: number | null) => ({
  errorClass,
  status,
  message: 'no',
  responseExcerpt: null,
});
const http = (status: number) => (status < 300 ? delivered(status, null) : retry(failure(`http_${status}`, status)));
const smtp = (status: number, ...names: string[]) =>
  status < 300
    ? delivered(status, null)
    : retry(failure(`smtp_${status}`, status), { names: [...names, `smtp_${status}`] });
const named = (name: string, ...more: string[]) => retry(failure(name, null), { names: [name, ...more] });
const slack = (code: string, status = 200) => rejected(failure(`slack_${code}`, status));

/** As in the file: the words of each list. */
function rules(lists: Partial<Record<Verdict, string>>): OutcomeRule[] {
  return verdicts.flatMap((verdict) =>
    (lists[verdict] ?? '').split(' ').flatMap((text) => {
      const pattern = parsePattern(text);
      return pattern === null ? [] : [{ pattern, verdict }];
    }),
  );
}

describe('built in', () => {
  test.each([
    ['success', [200, 201, 202, 204, 206, 299]],
    ['retry', [300, 301, 302, 304, 307, 308, 408, 409, 425, 429, 500, 501, 502, 503, 504, 599, 600, 999]],
    ['reject', [400, 401, 402, 403, 404, 405, 413, 418, 422, 451, 499]],
    ['disable', [410]],
  ] as const)('a webhook: %s', (verdict, statuses) => {
    for (const status of statuses)
      expect([status, builtInOutcomes('webhook').judge(http(status))]).toEqual([status, verdict]);
  });

  test.each([
    ['timeout', 'retry'],
    ['dns', 'retry'],
    ['tls', 'retry'],
    ['of_some_module', 'retry'],
  ] as const)('a fault on the way: %s', (name, verdict) => {
    expect(builtInOutcomes('webhook').judge(named(name, 'network'))).toBe(verdict);
    expect(builtInOutcomes('email').judge(named(name, 'network'))).toBe(verdict);
  });

  test('a 2xx that broke off is judged by what broke it off', () => {
    const cut = retry(failure('timeout', 200), { names: ['timeout', 'network'] });
    expect(builtInOutcomes('webhook').judge(cut)).toBe('retry');
    expect(
      builtInOutcomes('webhook')
        .with(rules({ reject: 'timeout' }))
        .judge(cut),
    ).toBe('reject');
  });

  test('what nobody names is as the action type says', () => {
    expect(builtInOutcomes('webhook').judge(rejected(failure('invalid_request', null)))).toBe('reject');
    expect(builtInOutcomes('some-module').judge(rejected(failure('full', null)))).toBe('reject');
    expect(builtInOutcomes('some-module').judge(retry(failure('busy', null)))).toBe('retry');
    expect(builtInOutcomes('some-module').judge(delivered(null, null))).toBe('success');
  });

  test.each([
    [250, [], 'success'],
    [421, [], 'retry'],
    [451, ['4.3.0', '4.3.x'], 'retry'],
    [503, ['5.5.1'], 'retry'],
    [550, ['5.1.1'], 'reject'],
    [552, [], 'reject'],
    [535, ['5.7.8', 'auth'], 'retry'],
  ] as const)('a mail server: %i %j %s', (code, names, verdict) => {
    expect(builtInOutcomes('email').judge(smtp(code, ...names))).toBe(verdict);
  });

  test.each([
    ['ratelimited', 200, 'retry'],
    ['rollup_error', 500, 'retry'],
    ['channel_not_found', 200, 'reject'],
    ['channel_not_found', 404, 'reject'],
    ['something_new', 500, 'retry'],
    ['channel_is_archived', 410, 'disable'],
  ] as const)('slack: %s with %i %s', (code, status, verdict) => {
    expect(builtInOutcomes('slack').judge(slack(code, status))).toBe(verdict);
  });
});

describe('a file over it', () => {
  const judge = (lists: Partial<Record<Verdict, string>>, status: number) =>
    builtInOutcomes('webhook').with(rules(lists)).judge(http(status));

  test('what it does not name stays', () => {
    expect(judge({ disable: '401' }, 401)).toBe('disable');
    expect(judge({ disable: '401' }, 410)).toBe('disable');
    expect(judge({ disable: '401' }, 500)).toBe('retry');
    expect(judge({ retry: '4xx' }, 404)).toBe('retry');
    expect(judge({ retry: '4xx' }, 410), 'one status is more specific than a class').toBe('disable');
    expect(judge({ reject: '410' }, 410)).toBe('reject');
  });

  test('a single value before a range before a class, whichever comes first', () => {
    const lists = { retry: '5xx', reject: '500-504', disable: '503' };
    expect([505, 502, 503].map((status) => judge(lists, status))).toEqual(['retry', 'reject', 'disable']);
    expect(judge({ reject: '400-599', retry: '500-502' }, 501)).toBe('retry');
  });

  test('a success can be put off, and a refusal can be a success', () => {
    expect(judge({ retry: '202' }, 202)).toBe('retry');
    expect(judge({ retry: '202' }, 200)).toBe('success');
    expect(judge({ success: '409' }, 409)).toBe('success');
  });

  test('protocols: a prefix names one, without it the pattern is of whatever is spoken', () => {
    const both = rules({ reject: 'http_503 smtp_4xx', disable: '5.7.1', retry: '552 5.2.x' });
    expect(builtInOutcomes('webhook').with(both).judge(http(503))).toBe('reject');
    expect(builtInOutcomes('webhook').with(both).judge(http(429))).toBe('retry');
    const mail = builtInOutcomes('email').with(both);
    expect(mail.judge(smtp(503))).toBe('retry');
    expect(mail.judge(smtp(451))).toBe('reject');
    expect(mail.judge(smtp(552))).toBe('retry');
    expect(mail.judge(smtp(554, '5.7.1'))).toBe('disable');
    expect(mail.judge(retry(failure('smtp_554', 554), { names: ['5.2.2', 'smtp_554', '5.2.x'] }))).toBe('retry');
  });

  test('slack codes and faults by name, `network` for all faults that are not named themselves', () => {
    const policy = builtInOutcomes('slack').with(
      rules({ disable: 'slack_token_revoked', reject: 'network', retry: 'tls' }),
    );
    expect(policy.judge(slack('token_revoked'))).toBe('disable');
    expect(policy.judge(named('dns', 'network'))).toBe('reject');
    expect(policy.judge(named('tls', 'network'))).toBe('retry');
  });
});

const status = fc.integer({ min: 100, max: 999 });
const pattern = fc.oneof(
  status.map(String),
  fc.integer({ min: 1, max: 9 }).map((n) => `${n}xx`),
  fc.tuple(status, status).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
);
const rule = fc.record({ text: pattern, verdict: fc.constantFrom(...verdicts) });

test('every status has exactly one verdict: that of the most specific rule, and of equally specific ones the last', () => {
  fc.assert(
    fc.property(fc.array(rule), status, (written, code) => {
      const parsed = written.flatMap(({ text, verdict }) => {
        const parsedPattern = parsePattern(text);
        return parsedPattern === null ? [] : [{ pattern: parsedPattern, verdict }];
      });
      const verdict = new OutcomePolicy('http', parsed).judge({ ...http(500), status: code, errorClass: null });
      // Written anew, from the sentence above and not from the code: width of what matches, then place in the file.
      const matching = parsed.flatMap((one, index) => {
        if (one.pattern.kind !== 'status' || code < one.pattern.from || code > one.pattern.to) return [];
        const isClass = formatPattern(one.pattern).endsWith('xx');
        const width = one.pattern.to - one.pattern.from;
        return [{ verdict: one.verdict, rank: isClass ? 1_000_000 : width, index }];
      });
      const [best] = matching.sort((a, b) => a.rank - b.rank || b.index - a.index);
      expect(verdict).toBe(best?.verdict ?? (code >= 200 && code < 300 ? 'success' : 'retry'));
    }),
    { numRuns: 2_000 },
  );
});

test('a pattern reads as it is written', () => {
  for (const text of [
    '503',
    '5xx',
    '500-503',
    'http_5xx',
    'smtp_552',
    'smtp_400-420',
    '5.7.1',
    '5.7.x',
    'timeout',
    'slack_no_text',
  ])
    expect(formatPattern(parsePattern(text) ?? { kind: 'name', name: '' })).toBe(text);
  for (const text of [
    '',
    '5',
    '5x',
    '0xx',
    '99',
    '1000',
    '503-500',
    '5.7',
    'x.7.1',
    'nope',
    'slack_',
    'http_',
    'ftp_500',
    '5XX',
  ])
    expect(parsePattern(text), text).toBeNull();
});
