// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { UserError } from '../domain/errors.ts';
import { childOf, readDocument } from './document.ts';
import { Problems } from './problems.ts';
import { didYouMean } from './suggestions.ts';
import { reasonOf, resolveVariables } from './variables.ts';

/** One entry of a destination's `secret`. */
export interface WrittenKey {
  /** `${NAME}` or `${file:/path}`; null for anything else, which may be the key itself. */
  readonly variable: string | null;
  /** The key; null when what it stands for is not at hand here. */
  readonly value: string | null;
}

export interface SigningKeys {
  /** Newest first, as the file lists them; empty: unsigned. */
  readonly keys: readonly WrittenKey[];
  /** Where `secret` stands, or would. */
  readonly line: number;
}

/**
 * The signing keys of a webhook destination. Reads no more of the file than that: whoever rotates a key need not have the
 * variables of everything else.
 * @throws UserError when the file can't be read or has no such webhook destination; ConfigError when it is no YAML
 */
export function readSigningKeys(
  file: string,
  destination: string,
  env: Readonly<Record<string, string | undefined>>,
): SigningKeys {
  const problems = new Problems(file);
  const document = readDocument(readText(file), problems);
  const path = ['destinations', destination, 'webhook'];
  if (document.at(path) === undefined) throw unknown(file, destination, document.at(['destinations']));
  const readFile = (name: string) => readFileSync(resolve(dirname(file), name), 'utf8');
  // Its problems are those of `validate`; a variable that is missing has no substitution.
  const resolved = resolveVariables(document, { env, readFile, skip: [] }, problems);
  const written = [document.at([...path, 'secret']) ?? []].flat();
  const values = [[...path, 'secret'].reduce<unknown>(childOf, resolved.value) ?? []].flat();
  const keys = written.map((text, i): WrittenKey => {
    const value = values[i];
    const isVariable = typeof text === 'string' && /^\$\{[^{}]+\}$/.test(text);
    return { variable: isVariable ? text : null, value: typeof value === 'string' && value !== '' ? value : null };
  });
  return { keys, line: document.keyPosition([...path, 'secret']).line };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UserError(`can't read ${file}: ${reasonOf(error)}  (pass --config FILE)`, 2, {
      cause: error,
      code: 'PGO-FILE',
    });
  }
}

function unknown(file: string, destination: string, declared: unknown): UserError {
  const all = declared !== null && typeof declared === 'object' ? Object.entries(declared) : [];
  if (all.some(([name]) => name === destination)) {
    return new UserError(`destination ${destination} is no webhook: only webhooks are signed.`, 2, {
      code: 'PGO-DESTINATION',
    });
  }
  const webhooks = all.flatMap(([name, value]) => (childOf(value, 'webhook') === undefined ? [] : [name]));
  const hint = didYouMean(destination, webhooks) ?? (webhooks.length > 0 ? `there are ${webhooks.join(', ')}` : null);
  const message = `${file} has no destination ${destination}`;
  return new UserError(hint === null ? `${message}.` : `${message}  (${hint})`, 2, { code: 'PGO-DESTINATION' });
}
