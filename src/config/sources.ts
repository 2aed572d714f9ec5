import type { ChannelSource, Source, TableSource, TopicSource } from '../domain/rules.ts';
import type { Field } from './field.ts';
import { longestName, parseTableName } from './identifiers.ts';

/** Channel on which pg-observers wakes itself. */
const ownChannel = 'pg_observers_wake';

export function readSources(fields: Field): Map<string, Source> {
  const sources = new Map<string, Source>();
  const seen = new Map<string, string>();
  for (const [name, field] of fields.entries()) {
    const source = readSource(name, field);
    if (source === null) continue;
    refuseTwin(field, source, seen);
    sources.set(name, source);
  }
  return sources;
}

function readSource(name: string, field: Field): Source | null {
  if (field.get('table').present) return readTable(name, field);
  if (field.get('channel').present) return readChannel(name, field);
  if (field.get('topic').present) return readTopic(name, field);
  return null;
}

function readTable(name: string, field: Field): TableSource {
  const operations = field.get('operations').texts() as TableSource['operations'] | undefined;
  for (const column of [...field.get('columns').items(), field.get('tenant')]) refuseLong(column);
  const columns = field.get('columns').texts();
  return Object.freeze({
    kind: 'table',
    name,
    position: field.keyPosition,
    ...readTableName(field.get('table')),
    operations: Object.freeze(operations ?? (['insert', 'update', 'delete'] as const)),
    columns: columns === undefined ? null : Object.freeze(columns),
    where: field.get('where').text() ?? null,
    tenant: field.get('tenant').text() ?? null,
    notify: field.get('notify').flag() ?? true,
    replicated: field.get('replicated').flag() ?? false,
  });
}

function readTableName(field: Field): { readonly schema: string; readonly table: string } {
  const text = field.text();
  const name = text === undefined ? { schema: '', table: '' } : parseTableName(text);
  if (!('problem' in name)) return name;
  // The hint quotes the name, which a variable may hold.
  field.refuse(`table ${field.shown} ${name.problem}`, field.substitutions.length === 0 ? name.hint : null);
  return { schema: '', table: '' };
}

function readChannel(name: string, field: Field): ChannelSource {
  const channel = field.get('channel');
  refuseLong(channel);
  if (channel.text() === ownChannel)
    channel.refuse(`channel ${channel.shown} is the one pg-observers wakes itself on`, 'choose another');
  return Object.freeze({ kind: 'channel', name, position: field.keyPosition, channel: channel.text() ?? '' });
}

function readTopic(name: string, field: Field): TopicSource {
  return Object.freeze({ kind: 'topic', name, position: field.keyPosition, topic: field.get('topic').text() ?? '' });
}

function refuseLong(field: Field): void {
  const text = field.text();
  if (text === undefined || Buffer.byteLength(text) <= longestName) return;
  field.refuse(`${field.shown} is longer than ${longestName} bytes`, 'PostgreSQL has no longer names');
}

/** An event of a channel or topic belongs to one source. */
function refuseTwin(field: Field, source: Source, seen: Map<string, string>): void {
  if (source.kind === 'table') return;
  const id = JSON.stringify([source.kind, source.kind === 'channel' ? source.channel : source.topic]);
  const twin = seen.get(id);
  if (twin !== undefined) {
    const value = field.get(source.kind);
    value.refuse(`${source.kind} ${value.shown} is source \`${twin}\` already`, 'let both observers use that one');
  }
  seen.set(id, source.name);
}
