import pc from 'picocolors';
import type { EventRecord } from '../domain/event.ts';
import { eventJson } from '../domain/event-json.ts';
import type { Config } from '../domain/rules.ts';
import { type ExplainedObserver, explainEvent } from '../pipeline/decide/explain.ts';
import type { EventHistory } from '../transport/postgres/event-history.ts';
import { conditionLines } from './explanation.ts';
import { ago } from './table.ts';
import { timeline } from './timeline.ts';

export function explanationText(history: EventHistory, config: Config, only?: string): string {
  const { event, observers } = explainEvent(history.event, config);
  const shown = observers.filter(({ observer }) => only === undefined || observer.name === only);
  return [
    heading(event, history),
    ...(shown.length === 0 ? [nobody(event, config, only)] : shown.map((one) => section(one, event, history, config))),
    ...formerObservers(history, config),
    timeline(history),
  ].join('\n\n');
}

function heading(event: EventRecord, { from, routed, dead_letters: letters }: EventHistory): string {
  const { uid, id, source, operation, key, tenant, at } = event;
  const parts = [
    `${source}.${operation}`,
    ...(key === null ? [] : [`key ${key}`]),
    ...(tenant === null ? [] : [`tenant ${tenant}`]),
  ];
  return [
    `${pc.bold(`event ${uid}`)}  (${id} in the log)`,
    `${parts.join('  ')}  captured ${at} (${ago(at)})`,
    ...(from === 'log'
      ? []
      : [pc.yellow(`No longer in the log: this is the copy that dead letter ${letters[0]?.id} keeps.`)]),
    ...(routed === false ? [pc.yellow('Not routed yet: the router has not come to it.')] : []),
  ].join('\n');
}

function nobody(event: EventRecord, config: Config, only: string | undefined): string {
  if (only !== undefined)
    return `${only} observes ${config.observers.get(only)?.source.name}: this event is of ${event.source}.`;
  return config.sources.has(event.source)
    ? `No observer of the file observes ${event.source}.`
    : `The file has no source ${event.source}: nobody observes it now.`;
}

const verdicts = { fires: pc.green('fires'), silent: 'does not fire', fault: pc.red('engine fault') } as const;

function section(explained: ExplainedObserver, event: EventRecord, history: EventHistory, config: Config): string {
  const { observer, verdict, fault, condition } = explained;
  const place = `${config.file ?? 'line'}:${observer.position.line}`;
  return [
    `${pc.bold(observer.name)}  ${verdicts[verdict]}${observer.mode === 'shadow' ? pc.yellow('  in shadow mode: nothing is sent') : ''}  ${pc.dim(place)}`,
    ...conditionOf(explained, event).map((line) => `  ${line}`),
    // A condition that is an error has said so above.
    ...(fault === null || condition?.verdict === 'error' ? [] : [`  ${pc.red(fault)}`]),
    ...versionLines(observer.name, observer.version, history).map((line) => `  ${line}`),
  ].join('\n');
}

function conditionOf({ observer, listens, condition }: ExplainedObserver, event: EventRecord): string[] {
  if (!listens) return [`listens to ${observer.on.join(', ')}, and this is ${event.operation}`];
  return condition === null ? [`no condition: every ${observer.on.join(', ')}`] : conditionLines(condition);
}

/** Rule versions that this event's records of the observer name, the oldest first. */
export function versionsOf(
  observer: string,
  { deliveries, attempts, dead_letters: letters }: EventHistory,
): readonly string[] {
  const of = <T extends { observer: string; rule_version: string | null }>(rows: readonly T[]) =>
    rows.flatMap((row) => (row.observer === observer && row.rule_version !== null ? [row.rule_version] : []));
  return [...new Set([...of(attempts), ...of(letters), ...of(deliveries)])];
}

function versionLines(observer: string, today: string, history: EventHistory): string[] {
  const then = versionsOf(observer, history);
  if (then.length === 0) return [pc.dim(`rule ${today}`)];
  if (then.every((version) => version === today)) return [pc.dim(`rule ${today}, as when the event was routed`)];
  return [
    pc.yellow(
      `rule ${today} today, ${then.join(', ')} when the event was routed: the rule has changed, and what it says above is today's`,
    ),
  ];
}

function formerObservers(history: EventHistory, config: Config): string[] {
  const all = [...history.deliveries, ...history.attempts, ...history.dead_letters].map(({ observer }) => observer);
  return [...new Set(all)]
    .filter((name) => !config.observers.has(name))
    .map(
      (name) =>
        `${pc.bold(name)}  no longer in the file  ${pc.dim(`rule ${versionsOf(name, history).join(', ')} then`)}`,
    );
}

export function explanationJson(history: EventHistory, config: Config, only?: string): string {
  const { event, observers } = explainEvent(history.event, config);
  const rest = {
    from: history.from.replace(' ', '_'),
    routed: history.routed,
    observers: observers
      .filter(({ observer }) => only === undefined || observer.name === only)
      .map(({ observer, verdict, listens, condition, fault }) => ({
        observer: observer.name,
        verdict,
        mode: observer.mode,
        line: observer.position.line,
        listens,
        condition,
        fault,
        rule_version: observer.version,
        rule_versions_then: versionsOf(observer.name, history),
      })),
    deliveries: history.deliveries,
    attempts: history.attempts.map(withRequest),
    dead_letters: history.dead_letters.map(withRequest),
  };
  return `{\n  "event": ${eventJson(event)},\n${JSON.stringify(rest, null, 2).slice(2)}`;
}

function withRequest<T extends { readonly request: string | null }>(row: T): unknown {
  return { ...row, request: row.request === null ? null : (JSON.parse(row.request) as unknown) };
}
