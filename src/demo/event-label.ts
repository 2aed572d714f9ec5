import type { EventRecord } from '../domain/event.ts';

/** The columns and fields of the shop that explain why an observer fires or does not. */
interface Facts {
  readonly status?: string;
  readonly total?: number;
  readonly name?: string;
  readonly order?: number;
  readonly plan?: string;
}

/** `orders.update 42`, and with room for it `orders.update 42 paid 1200`. */
export function eventLabel(record: EventRecord, roomy: boolean): string {
  const { source, operation, key, payload } = record;
  const name = `${source}.${operation}${key === null ? '' : ` ${key}`}`;
  const image = record.new ?? payload;
  if (!roomy || image === null) return name;
  const facts = JSON.parse(image) as Facts;
  const told = [
    operation === 'update' ? facts.status : undefined,
    facts.total?.toFixed(0),
    facts.name,
    facts.order === undefined ? undefined : `order ${facts.order}`,
    facts.plan,
  ];
  return [name, ...told.filter((fact) => fact !== undefined)].join(' ');
}
