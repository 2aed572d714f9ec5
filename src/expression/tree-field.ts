import { CompileError, didYouMean, type ValuePath } from './compile-error.ts';
import { eventFields } from './environment.ts';
import { quote } from './literal.ts';

const step = /\.([^.[\]]+)|\[(?:"([^"\\]+)"|'([^'\\]+)'|(\d{1,9}))\]/y;

/** These are tokens of their own, not names. */
const notSelectable = new Set(['true', 'false', 'null', 'in']);

/** Whether a key of a tree names a value of the event: new.status, payload.a.b, old["odd name"], payload.items[0]. */
export function isFieldKey(key: string): boolean {
  return /^(?:new|old|payload|event)(?![^.[])/.test(key);
}

/**
 * The key as a CEL selection. Names that CEL couldn't select by a dot (non-ASCII, spaces, dashes) are put in brackets, so
 * `new.größe` needs no care in YAML.
 * @throws CompileError
 */
export function fieldSource(key: string, path: ValuePath): string {
  const root = /^\w+/.exec(key)?.[0] ?? '';
  let source = root;
  step.lastIndex = root.length;
  while (step.lastIndex < key.length) {
    const from = step.lastIndex;
    const match = step.exec(key);
    if (match === null) {
      throw new CompileError(`not a field: ${key}`, {
        path,
        offset: from,
        hint: 'such as new.status or new["odd name"]',
      });
    }
    const [, plain, doubleQuoted, singleQuoted, index] = match;
    if (index !== undefined) source += `[${index}]`;
    else source += selection(plain ?? doubleQuoted ?? singleQuoted ?? '');
  }
  if (root === 'event') assertEventField(key, path);
  return source;
}

function selection(name: string): string {
  return /^[A-Za-z_]\w*$/.test(name) && !notSelectable.has(name) ? `.${name}` : `[${quote(name)}]`;
}

function assertEventField(key: string, path: ValuePath): void {
  const name = key.split(/[.[]/)[1]?.replaceAll(/["'\]]/g, '') ?? '';
  if (Object.hasOwn(eventFields, name)) return;
  const fields = Object.keys(eventFields);
  const hint = didYouMean(name, fields) ?? `one of ${fields.join(', ')}`;
  throw new CompileError(name === '' ? 'which field of the event?' : `Unknown field of event: ${name}`, { path, hint });
}
