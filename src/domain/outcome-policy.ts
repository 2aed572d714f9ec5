import type { Outcome } from './outcome.ts';
import { isClass, type OutcomePattern, type Protocol, parsePattern, type StatusPattern } from './outcome-pattern.ts';

/**
 * - `success`: delivered
 * - `retry`: tried again, as the retry policy permits
 * - `reject`: a dead letter at once
 * - `disable`: waits, and nothing more is sent there until a person enables the destination
 */
export const verdicts = ['success', 'retry', 'reject', 'disable'] as const;
export type Verdict = (typeof verdicts)[number];

/** Its outcomes get this verdict. */
export interface OutcomeRule {
  readonly pattern: OutcomePattern;
  readonly verdict: Verdict;
}

/**
 * Which outcomes mean what, for one destination. Every outcome has exactly one verdict: the most specific rule decides
 * (a single value before a range before a class such as `5xx`, a narrow range before a wide one), and of equally
 * specific ones the last. So a file adds lines to the built-in table, or replaces some, and the rest stays in force.
 */
export class OutcomePolicy {
  readonly protocol: Protocol | null;
  /** Later ones win over equally specific earlier ones. */
  readonly rules: readonly OutcomeRule[];
  readonly #named: ReadonlyMap<string, Verdict>;
  /** Index into `verdicts`, by status: one look per attempt, whatever the rules. */
  readonly #byStatus: Uint8Array;

  constructor(protocol: Protocol | null, rules: readonly OutcomeRule[]) {
    this.protocol = protocol;
    this.rules = Object.freeze([...rules]);
    this.#named = namedVerdicts(protocol, rules);
    this.#byStatus = statusTable(protocol, rules);
    Object.freeze(this);
  }

  /** The same with further rules. */
  with(rules: readonly OutcomeRule[]): OutcomePolicy {
    return rules.length === 0 ? this : new OutcomePolicy(this.protocol, [...this.rules, ...rules]);
  }

  judge({ errorClass, names, status, fallback }: Outcome): Verdict {
    if (errorClass === null) return status === null ? 'success' : this.#ofStatus(status);
    for (const name of names) {
      const verdict = this.#named.get(name);
      if (verdict !== undefined) return verdict;
    }
    // A good status with a failure beside it (an answer that broke off, a Slack code) says nothing.
    const failing = status !== null && !(status >= 200 && status < 300);
    return failing ? this.#ofStatus(status) : fallback;
  }

  #ofStatus(status: number): Verdict {
    return verdicts[this.#byStatus[status] ?? retried] ?? 'retry';
  }
}

const delivered = verdicts.indexOf('success');
const retried = verdicts.indexOf('retry');

/** Single statuses too, as `http_503`: a failure may have a further name that is less specific (`auth`). */
function namedVerdicts(protocol: Protocol | null, rules: readonly OutcomeRule[]): ReadonlyMap<string, Verdict> {
  const named = new Map<string, Verdict>();
  for (const { pattern, verdict } of rules) {
    if (pattern.kind === 'name') named.set(pattern.name, verdict);
    else if (pattern.from === pattern.to && speaks(protocol, pattern))
      named.set(`${protocol}_${pattern.from}`, verdict);
  }
  return named;
}

/** Painted from the widest to the narrowest. What no rule names is a success below 300 and above 199, else worth another try. */
function statusTable(protocol: Protocol | null, rules: readonly OutcomeRule[]): Uint8Array {
  const table = new Uint8Array(1_000).fill(retried);
  table.fill(delivered, 200, 300);
  const painted = rules.flatMap(({ pattern, verdict }) =>
    pattern.kind === 'status' && speaks(protocol, pattern) ? [{ pattern, verdict }] : [],
  );
  painted.sort((one, other) => breadth(other.pattern) - breadth(one.pattern));
  for (const { pattern, verdict } of painted) table.fill(verdicts.indexOf(verdict), pattern.from, pattern.to + 1);
  return table;
}

/** A class is broader than every range. */
function breadth(pattern: StatusPattern): number {
  return isClass(pattern) ? 1_000 : pattern.to - pattern.from;
}

const speaks = (protocol: Protocol | null, pattern: StatusPattern) =>
  pattern.protocol === null || pattern.protocol === protocol;

type Table = Readonly<Record<Verdict, string>>;

/** As Standard Webhooks asks. 3xx are never followed; someone will mend the URL or the redirect. */
const http: Table = {
  success: '2xx',
  retry: '3xx 408 409 425 429 5xx network',
  reject: '4xx',
  disable: '410',
};

/** Of Slack's codes those that speak about its own state. @see https://docs.slack.dev/reference/methods/chat.postMessage */
const slack: Table = {
  ...http,
  retry: `${http.retry} ${[
    'ratelimited',
    'rate_limited',
    'message_limit_exceeded',
    'internal_error',
    'fatal_error',
    'service_unavailable',
    'request_timeout',
    'team_added_to_org',
    // Of incoming webhooks: "something strange and unusual happened".
    'rollup_error',
    'invalid_response',
  ]
    .map((code) => `slack_${code}`)
    .join(' ')}`,
};

/**
 * RFC 5321 §4.2.1. 503 (bad sequence of commands) speaks of the session and not of the mail. A refused login is retried:
 * the mail is not at fault, and while a password is being changed every event would go straight to the dead letters.
 */
const smtp: Table = { success: '2xx', retry: '4xx 503 auth network', reject: '5xx', disable: '' };

/** A module says itself what it means; a status of its receiver is for the history. */
const module: Table = { success: '2xx', retry: 'network module_retry', reject: 'module_rejected', disable: '' };

const builtIn: Readonly<Record<string, OutcomePolicy>> = {
  webhook: policyOf('http', http),
  slack: policyOf('http', slack),
  email: policyOf('smtp', smtp),
  module: policyOf(null, module),
};
const others = policyOf(null, { success: '', retry: 'network', reject: '', disable: '' });

/** What outcomes of this kind of destination mean unless the file says otherwise. */
export function builtInOutcomes(kind: string): OutcomePolicy {
  return builtIn[kind] ?? others;
}

function policyOf(protocol: Protocol | null, table: Table): OutcomePolicy {
  const rules = verdicts.flatMap((verdict) =>
    table[verdict].split(' ').flatMap((text) => {
      const pattern = parsePattern(text);
      return pattern === null ? [] : [Object.freeze({ pattern: Object.freeze(pattern), verdict })];
    }),
  );
  return new OutcomePolicy(protocol, rules);
}
