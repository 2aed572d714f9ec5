/**
 * Numbers as a parameter for `$n::bigint[]` and the like. node-postgres quotes and escapes every element of an array,
 * which for the columns of a thousand rows is a fifth of the work of sending them.
 *
 * @param values digits, finite numbers or null; never text of others
 */
export function digitsArray(values: readonly (string | number | null)[]): string {
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`;
}
