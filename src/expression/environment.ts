/**
 * The CEL environment: one for conditions, condition trees and templates.
 *
 * What isn't there in the data is null, in every form and at every depth: a field of a null `old`, `new` or `payload`, a
 * column the row doesn't have, an index behind the end of a JSON list. And null doesn't match: compared by < <= > >= with anything it is
 * false, it equals only null, calculations with it are null, `startsWith`, `contains`, `matches` … on it are false. So
 * `old.total > 5` on an insert is false, not an error, and `old.status != "paid"` is true.
 *
 * Everything else that makes no sense is an error, which becomes a dead letter: comparing "100" with 100 by > (by == it
 * is false), a field of a text, null where && or ! needs true or false (`new.vip == true` says it safely).
 *
 * A number from JSON is a `double`, an integer beyond 2^53 an `int`: equality and order between them are exact.
 */
import { Environment } from '@marcbachmann/cel-js';
import { RE2JS } from 're2js';
import { registerFunctions, registerMixedArithmetic, registerNull } from './functions.ts';
import { RawText } from './print.ts';
import { DeliveryView, EventView } from './scope.ts';
import { registerValueFunctions } from './values.ts';

export const variables = ['event', 'new', 'old', 'changed', 'payload', 'delivery'] as const;

export const eventFields = {
  id: 'string',
  source: 'string',
  operation: 'string',
  table: 'dyn',
  key: 'dyn',
  tenant: 'dyn',
  at: 'string',
  context: 'dyn',
} as const;

export const deliveryFields = { id: 'string', observer: 'string', action: 'string' } as const;

/** Parentheses, calls, lists and selections inside one another. */
const deepestNesting = 64;

export const environment = createEnvironment();

/** Every function and method name there is. */
export const functionNames: ReadonlySet<string> = new Set(
  environment.getDefinitions().functions.map(({ name }) => name),
);

function createEnvironment(): Environment {
  const created = new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    enableOptionalTypes: true,
    limits: { maxDepth: deepestNesting, maxAstNodes: 20_000, maxListElements: 1000, maxMapEntries: 1000 },
  });
  created.registerType('Event', { ctor: EventView, fields: eventFields });
  created.registerType('Delivery', { ctor: DeliveryView, fields: deliveryFields });
  created.registerType('Raw', RawText);
  created.registerType('Pattern', RE2JS);
  created.registerVariable('event', 'Event');
  created.registerVariable('delivery', 'Delivery');
  created.registerVariable('changed', 'list<string>');
  // `dyn`, not `map`: they may be null, and a payload may be a text.
  for (const name of ['new', 'old', 'payload']) created.registerVariable(name, 'dyn');
  registerFunctions(created);
  registerValueFunctions(created);
  registerMixedArithmetic(created);
  registerNull(created);
  return created;
}
