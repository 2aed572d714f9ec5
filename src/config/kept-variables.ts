import type { Field } from './field.ts';

/** Shorter ones (`eu`, `prod`, a number) are no keys, and hiding them would tear every dead letter and log line. */
const shortestSecret = 8;

/** A variable in what is sent may well be the key that the receiver wants to see there: it is secret everywhere else. */
export function keepVariables(field: Field): void {
  if (Array.isArray(field.value)) return field.items().forEach(keepVariables);
  if (typeof field.value === 'object') {
    for (const [, value] of field.entries()) keepVariables(value);
    return;
  }
  for (const { from, value } of field.substitutions) {
    if (from === 'environment' && value.length >= shortestSecret) field.secret(value);
  }
}
