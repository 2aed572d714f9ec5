/** The first observers.yaml of somebody: what is there, one observer that does no harm, and what else there could be, in comments. */

import { isBookkeeping } from './bookkeeping-tables.ts';
import { looksSensitive } from './sensitive-columns.ts';

export interface StarterTable {
  readonly schema: string;
  readonly name: string;
  readonly partitioned: boolean;
  readonly columns: readonly string[];
  readonly primaryKey: readonly string[];
}

export interface StarterOptions {
  /** null: no database was looked at. */
  readonly tables: readonly StarterTable[] | null;
  /** Where the database is when DATABASE_URL does not say so; without a password. */
  readonly database: string;
  /** Where the schema is for editors. */
  readonly schema: string;
}

/** Where the receiver of the example listens. */
export const localPort = 7430;

/** What is written for a table: a source, or why there is none. */
interface Entry {
  readonly table: StarterTable;
  readonly source: string;
  readonly sensitive: readonly string[];
  /** null: it becomes a source. */
  readonly leftOut: string | null;
}

export interface StarterFile {
  readonly text: string;
  readonly sources: number;
  /** Names of tables without a source. */
  readonly leftOut: readonly string[];
}

export function starterFile(options: StarterOptions): StarterFile {
  const entries = options.tables === null ? [] : entriesOf(options.tables);
  const observed = entries.filter((entry) => entry.leftOut === null);
  const text = [
    head(options),
    sources(options.tables === null, entries),
    destinations(),
    observers(exampleOf(observed)),
    settings(),
  ].join('\n');
  return {
    text,
    sources: Math.max(1, observed.length),
    leftOut: entries.filter((entry) => entry.leftOut !== null).map(({ table }) => `${table.schema}.${table.name}`),
  };
}

function entriesOf(tables: readonly StarterTable[]): Entry[] {
  const taken = new Set<string>();
  return tables.map((table) => {
    const sensitive = table.columns.filter(looksSensitive);
    return { table, sensitive, source: sourceName(table, taken), leftOut: whyLeftOut(table, sensitive) };
  });
}

function whyLeftOut({ schema, name, columns, primaryKey }: StarterTable, sensitive: readonly string[]): string | null {
  if (isBookkeeping(schema, name)) return 'bookkeeping of a tool';
  if (columns.length === 0) return 'it has no columns';
  // In the file that begins a variable or a template, and a name is neither.
  if ([schema, name, ...columns].some((text) => text.includes('${'))) return 'a name of it has ${ in it';
  const key = primaryKey.find((column) => sensitive.includes(column));
  if (key !== undefined) return `each event would carry its primary key, and ${inComment(key)} looks like a secret`;
  if (sensitive.length === columns.length) return 'all of its columns look like secrets';
  return null;
}

/** `orders`, outside of public `sales-orders`; a number when that is taken. */
function sourceName({ schema, name }: StarterTable, taken: Set<string>): string {
  const plain = (text: string) => text.normalize('NFKD').replaceAll(/[^A-Za-z0-9_-]+/g, '');
  const own = plain(name).replace(/^-+/, '') || 'table';
  const wanted = (schema === 'public' ? own : `${plain(schema).replace(/^-+/, '') || 'schema'}-${own}`).slice(0, 56);
  for (let n = 1; ; n++) {
    const candidate = n === 1 ? wanted : `${wanted}-${n}`;
    if (taken.has(candidate)) continue;
    taken.add(candidate);
    return candidate;
  }
}

function head({ database, schema, tables }: StarterOptions): string {
  const how =
    tables === null
      ? '# Written by `pg-observers init` without a database: with --database or DATABASE_URL it begins with the tables it finds.'
      : '# Written by `pg-observers init` from the tables of a database.';
  return `# yaml-language-server: $schema=${schema}
#
${how}
# An event comes from a source; an observer looks at it and, if its condition holds, sends its actions to destinations.
# \${NAME}, \${NAME:-default} and \${file:/path} are replaced when this file is loaded. \${{ … }} is filled in for each event.
version: 1
database: ${scalar(`\${DATABASE_URL:-${database}}`)} # a password belongs into DATABASE_URL, not in here
`;
}

function sources(unseen: boolean, entries: readonly Entry[]): string {
  const observed = entries.filter((entry) => entry.leftOut === null);
  const others = entries.filter((entry) => entry.leftOut !== null);
  const lines = [
    'sources: # where events come from',
    '  # `pg-observers apply` puts triggers on each table here: each change then writes an event, in its own transaction.',
    '  # Take out the tables that nobody should hear of. `columns` says what receivers may see; default: every column.',
    ...observed.flatMap(sourceLines),
    ...others.flatMap(leftOutLines),
    ...(observed.length === 0 ? topicLines(unseen) : []),
    '  # More: operations: [insert, update], where: total > 0, tenant: tenant_id',
    '  # payments: { channel: payment_events } # your own NOTIFY',
    '',
  ];
  return lines.join('\n');
}

function sourceLines({ table, source, sensitive }: Entry): string[] {
  const shown = table.columns.filter((column) => !sensitive.includes(column));
  return [
    `  ${scalar(source)}:`,
    `    table: ${scalar(tableName(table))} # ${keyInWords(table)}${table.partitioned ? '; partitioned: its partitions come with it' : ''}`,
    ...(sensitive.length === 0
      ? []
      : [
          `    # left out, for they look like secrets: ${sensitive.map(inComment).join(', ')}`,
          `    columns: [${shown.map(scalar).join(', ')}]`,
        ]),
  ];
}

function keyInWords({ primaryKey }: StarterTable): string {
  if (primaryKey.length === 0) return 'no primary key: its events have no key';
  return `primary key: ${primaryKey.map(inComment).join(', ')}`;
}

function leftOutLines({ table, source, leftOut }: Entry): string[] {
  return [`  # ${source}: { table: ${inComment(scalar(tableName(table)))} } # left out: ${leftOut}`];
}

/** What needs no table. */
function topicLines(unseen: boolean): string[] {
  return [
    ...(unseen ? ['  # orders: { table: public.orders }'] : ['  # There is no table to observe yet.']),
    `  hello: # select observers.emit('hello', '{"name": "world"}'): an event without a table, as durable`,
    '    topic: hello',
  ];
}

function destinations(): string {
  return `destinations: # where deliveries go
  local: # on this machine, so nothing leaves it: \`pg-observers receiver --port ${localPort}\` shows what comes
    webhook: { url: "\${WEBHOOK_URL:-http://127.0.0.1:${localPort}/}" }
  # billing:
  #   webhook:
  #     url: https://billing.example.com/hooks
  #     secret: \${BILLING_WEBHOOK_SECRET} # signs, as Standard Webhooks asks; make one: pg-observers keys generate
  #   timeout: 10s
  #   retry: { attempts: 8, max_age: 3d } # then it is a dead letter: pg-observers dlq list
  # mail: { email: { smtp: "\${SMTP_URL}", from: Shop <shop@example.com> } }
  # team: { slack: { token: "\${SLACK_BOT_TOKEN}" } } # or webhook_url
`;
}

/** The table whose rows have a life of their own makes the better example. */
function exampleOf(observed: readonly Entry[]): Entry | null {
  const lively = (entry: Entry) => visible(entry).some((column) => /^(status|state)$/.test(column));
  return observed.find(lively) ?? observed.find(({ table }) => table.primaryKey.length > 0) ?? observed[0] ?? null;
}

const visible = ({ table, sensitive }: Entry) => table.columns.filter((column) => !sensitive.includes(column));

function observers(example: Entry | null): string {
  const source = example?.source ?? 'hello';
  const column = example === null ? null : conditionColumn(example);
  return `observers: # when what happens, and what to do then
  ${scalar(`${source.slice(0, 54)}-example`)}:
    source: ${scalar(source)}
${example === null ? '    # when: payload.name == "world"' : conditionLines(column)}
    # order_by: key # one after the other per key
    # mode: shadow # record what would be sent, and send nothing
    actions:
      - webhook: local # with the event and all its data as body
      # - webhook: billing
      #   body: { ${example === null ? 'name: "${{ payload.name }}"' : 'key: "${{ event.key }}", operation: "${{ event.operation }}"'} }
      # - email: mail
      #   to: you@example.com
      #   subject: \${{ event.source }} \${{ event.operation }}
      #   text: Key \${{ event.key }}
      # - slack: team
      #   channel: "#general"
      #   text: "\${{ event.source }} \${{ event.operation }}: \${{ event.key }}"
`;
}

function conditionColumn(example: Entry): string | null {
  const named = visible(example).filter((column) => /^[a-z_][a-z0-9_]*$/.test(column));
  return (
    named.find((column) => /^(status|state)$/.test(column)) ??
    named.find((column) => !example.table.primaryKey.includes(column)) ??
    null
  );
}

function conditionLines(column: string | null): string {
  const on = '    on: [insert, update, delete]';
  if (column === null) return on;
  return `${on}\n    # when: '"${column}" in changed' # or, for instance: new.${column} == "paid" && old.${column} != new.${column}`;
}

function settings(): string {
  return `# settings: # each also by environment: PG_OBSERVERS_LISTEN, PG_OBSERVERS_RETENTION_EVENTS, …
#   listen: 127.0.0.1:7420 # health and metrics; or off
#   retention: { events: 7d, attempts: 7d }
#   environment: development # a copy of this database elsewhere then sends nothing
`;
}

/** `public.orders`; quoted where PostgreSQL would not read it as it is. */
function tableName({ schema, name }: StarterTable): string {
  return [schema, name]
    .map((part) => (/^[a-z_][a-z0-9_$]*$/.test(part) ? part : `"${part.replaceAll('"', '""')}"`))
    .join('.');
}

/** As YAML takes it, also within [ ] and { }. JSON is YAML; a `${` in a name of the database would be read as a variable. */
function scalar(text: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|y|n|nan|inf)$/i.test(text))
    return text;
  if (/^\$\{DATABASE_URL:-[\w:/@.%?&=+-]*\}$/.test(text)) return text;
  return /\p{Cc}/u.test(text) ? JSON.stringify(text) : `'${text.replaceAll("'", "''")}'`;
}

/** A comment ends with its line. */
function inComment(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]/gu, '\ufffd');
}
