// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import type { SqlAction, SqlDestination } from '../../domain/rules.ts';
import { readStatement } from '../expressions.ts';
import type { Field } from '../field.ts';
import { keepVariables } from '../kept-variables.ts';
import { type JsonSchema, record, templateText, text } from '../schema-values.ts';
import { readUrl } from '../urls.ts';
import type { Kind, OwnAction, OwnDestination } from './kind.ts';

const destinationSchema = record(
  'A database: the observed one, where a statement commits together with the settlement of its delivery (exactly once), or another one (`database`: at least once).',
  {
    database: text('postgres:// URL of another database. Default: the observed one.', { examples: ['${AUDIT_URL}'] }),
    role: text('Role that its statements run as (set local role). Default: the one that logs in.', {
      examples: ['audit_writer'],
    }),
  },
);

const actionKeys: JsonSchema = {
  statement: templateText(
    'One SQL statement: insert, update, delete, merge, select, call, … Each `${{ }}` becomes a parameter, never part of the SQL.',
    { examples: ['call record_payment(${{ new.id }}, ${{ new.total }})'] },
  ),
};

export const sql: Kind<'sql'> = {
  kind: 'sql',
  destinationSchema,
  reference: text('Name of a sql destination.'),
  // Each is a connection.
  concurrency: 4,
  actionKeys,
  actionRules: { required: ['statement'] },
  readDestination,
  readAction,
};

function readDestination(field: Field): OwnDestination<SqlDestination> {
  readUrl(field.get('database'), 'postgres');
  return { kind: 'sql', database: field.get('database').text() ?? null, role: field.get('role').text() ?? null };
}

function readAction(field: Field): OwnAction<SqlAction> {
  keepVariables(field.get('statement'));
  return { kind: 'sql', statement: readStatement(field.get('statement')) ?? noStatement };
}

const noStatement = Object.freeze({ text: '', parameters: Object.freeze([]) });
