import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { schema } from './schema.ts';

export const schemaFile = fileURLToPath(new URL('../../schema/observers.schema.json', import.meta.url));

export function schemaText(): string {
  return `${JSON.stringify(schema, null, 2)}\n`;
}

/** Whether the file in the repository is what `npm run schema` would write. */
export function schemaIsUpToDate(): boolean {
  return readFileSync(schemaFile, 'utf8') === schemaText();
}

// Run as a program, not imported by a test.
if (process.argv[1] !== undefined && fileURLToPath(import.meta.url) === process.argv[1]) {
  writeFileSync(schemaFile, schemaText());
}
