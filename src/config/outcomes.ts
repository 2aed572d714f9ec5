import {
  formatPattern,
  isClass,
  kindOfName,
  knownNames,
  networkNames,
  type OutcomePattern,
  type Protocol,
  parsePattern,
  protocolOf,
} from '../domain/outcome-pattern.ts';
import { builtInOutcomes, type OutcomeRule, verdicts } from '../domain/outcome-policy.ts';
import type { DestinationKind } from '../domain/rules.ts';
import type { Field } from './field.ts';
import { didYouMean } from './suggestions.ts';

interface Written extends OutcomeRule {
  readonly item: Field;
}

/**
 * The rules of `outcomes`, beside those that are inherited: what the file does not name stays as it was.
 * @param kind null in `defaults`, which hold for every kind
 */
export function readOutcomes(field: Field, kind: DestinationKind | null): readonly OutcomeRule[] {
  const rules: Written[] = [];
  for (const verdict of verdicts) {
    const list = field.get(verdict);
    if (Array.isArray(list.value) && list.value.length === 0) {
      list.refuse(`\`${verdict}\` is empty`, 'what is not listed stays as it was: list it where it belongs instead');
    }
    for (const item of list.items()) {
      const pattern = readPattern(item);
      if (pattern === null) continue;
      const problem =
        outOfPlace(pattern, kind) ?? unreasonable(pattern, verdict, kind) ?? contradiction(pattern, verdict, rules);
      if (problem === null) rules.push({ pattern, verdict, item });
      else item.refuse(`${item.shown} ${problem[0]}`, problem[1]);
    }
  }
  return Object.freeze(
    rules.map(({ pattern, verdict }) => Object.freeze({ pattern: Object.freeze(pattern), verdict })),
  );
}

const examples = 'such as 503, 5xx, 500-503, timeout, smtp_552, 5.7.1 or slack_channel_not_found';

function readPattern(item: Field): OutcomePattern | null {
  const text = item.text() ?? (typeof item.value === 'number' ? String(item.value) : '');
  const pattern = parsePattern(text);
  if (pattern === null) item.refuse(`${item.shown} names no outcome`, didYouMean(text, knownNames) ?? examples);
  return pattern;
}

type Problem = readonly [message: string, hint: string | null];

const protocolNames: Readonly<Record<Protocol, string>> = { http: 'an HTTP receiver', smtp: 'a mail server' };

const kindNamesInWords: Readonly<Record<string, string>> = { slack: 'Slack', sql: 'a database', module: 'a module' };

/** Of a protocol that this destination doesn't speak: it would never happen. */
function outOfPlace(pattern: OutcomePattern, kind: DestinationKind | null): Problem | null {
  const protocol = protocolOf(pattern);
  const only = kindOfName(pattern);
  if (kind === null) return null;
  if (only !== null && only !== kind)
    return [
      `is an answer of ${kindNamesInWords[only] ?? only}, and this is a destination of kind ${kind}`,
      'remove it',
    ];
  if (protocol === null) return null;
  if (builtInOutcomes(kind).protocol === protocol) return null;
  return [`is an answer of ${protocolNames[protocol]}, and this is a destination of kind ${kind}`, 'remove it'];
}

/** What would lose deliveries, or send them again and again. */
function unreasonable(
  pattern: OutcomePattern,
  verdict: OutcomeRule['verdict'],
  kind: DestinationKind | null,
): Problem | null {
  if (pattern.kind === 'name') {
    const unanswered = verdict === 'success' && networkNames.includes(pattern.name);
    return unanswered ? ['means that nobody answered: that is no success', null] : null;
  }
  const { from, to } = pattern;
  if (verdict === 'success' || to < 200 || from > 299) return null;
  if (from !== to) return ['holds statuses of success', `name those that mean \`${verdict}\` one by one, such as 202`];
  if (kind === 'webhook') return null;
  const where = kind === null ? '`defaults`' : `a destination of kind ${kind}`;
  return [
    `is a status of success, which can't mean \`${verdict}\` in ${where}`,
    'only for a webhook, at its own destination',
  ];
}

/** Said already; or equally specific, about the same statuses, and something else. */
function contradiction(
  pattern: OutcomePattern,
  verdict: OutcomeRule['verdict'],
  rules: readonly Written[],
): Problem | null {
  for (const other of rules) {
    if (!alike(pattern, other.pattern) && !(other.verdict !== verdict && overlap(pattern, other.pattern))) continue;
    const { line } = other.item.position;
    const what = alike(pattern, other.pattern) ? 'stands' : `overlaps ${other.item.shown}, which stands`;
    return [`${what} under \`${other.verdict}\` already`, `line ${line}; an outcome means one thing`];
  }
  return null;
}

function alike(one: OutcomePattern, other: OutcomePattern): boolean {
  if (one.kind === 'name' || other.kind === 'name') return formatPattern(one) === formatPattern(other);
  const sameProtocol = one.protocol === other.protocol || one.protocol === null || other.protocol === null;
  return sameProtocol && one.from === other.from && one.to === other.to;
}

/** Two ranges of which neither is part of the other: which one is meant where they meet can't be said. */
function overlap(one: OutcomePattern, other: OutcomePattern): boolean {
  if (one.kind === 'name' || other.kind === 'name' || isClass(one) || isClass(other)) return false;
  const [first, second] = one.from < other.from ? [one, other] : [other, one];
  return first.from < second.from && second.from <= first.to && second.to > first.to;
}
