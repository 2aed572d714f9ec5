import type { LogAction, LogDestination } from '../../domain/rules.ts';
import type { LogLevel } from '../../domain/telemetry.ts';
import { readTemplate } from '../expressions.ts';
import type { Field } from '../field.ts';
import { keepVariables } from '../kept-variables.ts';
import { type JsonSchema, template, templateText } from '../schema-values.ts';
import { type Kind, nothing, type OwnAction, type OwnDestination } from './kind.ts';

const actionKeys: JsonSchema = {
  level: { description: 'Of the line.', enum: ['debug', 'info', 'warn', 'error'], default: 'info' },
  fields: template('Further members of the line, below `fields`.', { type: 'object' }),
};

export const log: Kind<'log'> = {
  kind: 'log',
  destinationSchema: null,
  reference: templateText("A line for the process's own log. There is nothing to declare."),
  actionKeys,
  literalKeys: ['level'],
  actionRules: {},
  readDestination,
  readAction,
};

function readDestination(): OwnDestination<LogDestination> {
  return { kind: 'log' };
}

function readAction(field: Field): OwnAction<LogAction> {
  keepVariables(field.get('log'));
  keepVariables(field.get('fields'));
  return {
    kind: 'log',
    level: (field.get('level').text() as LogLevel | undefined) ?? 'info',
    message: readTemplate(field.get('log'), 'plain') ?? nothing,
    fields: readTemplate(field.get('fields'), 'plain'),
  };
}
