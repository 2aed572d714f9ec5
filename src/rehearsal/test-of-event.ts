import type { EventRecord, JsonText } from '../domain/event.ts';
import type { Config } from '../domain/rules.ts';
import { rawMembers } from '../expression/index.ts';
import { explainEvent } from '../pipeline/decide/explain.ts';

/** A test as YAML: this event, and what the rules of now make of it. Rows keep every digit: JSON is YAML. */
export function testOfEvent(stored: EventRecord, config: Config): string {
  const { event, observers } = explainEvent(stored, config);
  const names = (verdict: string) =>
    JSON.stringify(observers.flatMap((one) => (one.verdict === verdict ? one.observer.name : [])));
  const faulty = names('fault');
  const text = (key: string, value: string | null) =>
    value === null ? [] : [`      ${key}: ${JSON.stringify(value)}`];
  return [
    '# From a real event: take out what is personal before you keep it.',
    `  - name: ${JSON.stringify(`${event.source}.${event.operation}${event.key === null ? '' : ` ${event.key}`}`)}`,
    '    given:',
    `      ${event.operation}: ${JSON.stringify(event.source)}`,
    ...image('old', event.old),
    ...image('new', event.new),
    ...(event.payload === null ? [] : [`      payload: ${event.payload}`]),
    ...text('key', event.key),
    ...text('tenant', event.tenant),
    ...image('context', event.context),
    ...text('at', event.at),
    ...(faulty === '[]'
      ? [`    expect: ${names('fires')}`]
      : [`    expect: { only: ${names('fires')}, faults: ${faulty} }`]),
  ].join('\n');
}

function image(name: string, json: JsonText | null): string[] {
  if (json === null) return [];
  const members = [...rawMembers(json)];
  if (members.length === 0) return [`      ${name}: ${json}`];
  return [`      ${name}:`, ...members.map(([column, value]) => `        ${JSON.stringify(column)}: ${value}`)];
}
