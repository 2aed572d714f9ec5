import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { testSchema } from './rule-tests/schema.ts';
import { schema } from './schema.ts';

const written = new Map([
  ['observers.schema.json', schema],
  ['observers.test.schema.json', testSchema],
]);

const fileOf = (name: string): string => fileURLToPath(new URL(`../../schema/${name}`, import.meta.url));

export const schemaFile = fileOf('observers.schema.json');

export function schemaText(name = 'observers.schema.json'): string {
  return `${JSON.stringify(written.get(name), null, 2)}\n`;
}

/** Whether the files in the repository are what `npm run schema` would write. */
export function schemaIsUpToDate(): boolean {
  return [...written.keys()].every((name) => readFileSync(fileOf(name), 'utf8') === schemaText(name));
}

// Run as a program, not imported by a test.
if (process.argv[1] !== undefined && fileURLToPath(import.meta.url) === process.argv[1]) {
  for (const name of written.keys()) writeFileSync(fileOf(name), schemaText(name));
}
