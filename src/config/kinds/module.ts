// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import type { ModuleReference } from '../../domain/custom-action.ts';
import type { ModuleAction, ModuleDestination } from '../../domain/rules.ts';
import { readTemplate } from '../expressions.ts';
import type { Field } from '../field.ts';
import { keepVariables } from '../kept-variables.ts';
import { readModule } from '../modules.ts';
import { type JsonSchema, template, text } from '../schema-values.ts';
import type { Kind, OwnAction, OwnDestination } from './kind.ts';

const actionKeys: JsonSchema = {
  input: template('What the module gets, of any type. Default: the event envelope.'),
};

export const module: Kind<'module'> = {
  kind: 'module',
  destinationSchema: text(
    'An action of your own: path of an ES module, from this file. It runs with the rights of the process.',
    { examples: ['./actions/pagerduty.mjs'] },
  ),
  destinationKeys: {
    with: { description: 'Options for the module, of any type.', examples: [{ routing_key: '${PAGERDUTY_KEY}' }] },
  },
  reference: text('Name of a module destination.'),
  actionKeys,
  actionRules: {},
  readDestination,
  readAction,
};

function readDestination(field: Field, destination: Field): OwnDestination<ModuleDestination> {
  const options = destination.get('with');
  keepVariables(options);
  return { kind: 'module', module: readModule(field) ?? noModule, with: deepFrozen(options.value ?? {}) };
}

function readAction(field: Field): OwnAction<ModuleAction> {
  keepVariables(field.get('input'));
  return { kind: 'module', input: readTemplate(field.get('input'), 'plain') };
}

function deepFrozen(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const copy = Array.isArray(value)
    ? value.map(deepFrozen)
    : Object.fromEntries(Object.entries(value).map(([key, member]) => [key, deepFrozen(member)]));
  return Object.freeze(copy);
}

/** Stands in for one that was refused; so is the configuration then. */
const noModule: ModuleReference = Object.freeze({ path: '', url: '', action: null });
