import { childOf, type WrittenDocument } from './document.ts';
import { pathOf, pointerOf } from './pointer.ts';
import type { Problems } from './problems.ts';
import { misplacedKey, missingChoice, missingKey, namingRule, unknownKey, wrongValue } from './structure-messages.ts';
import { nearest } from './suggestions.ts';
import { unsupportedKeys } from './unsupported.ts';
import type { SchemaError, Validate } from './validation.ts';
import type { Resolved } from './variables.ts';

/** Holds the value against its JSON Schema. A number or boolean that came from a variable is turned into one on the way. */
export function checkStructure(
  document: WrittenDocument,
  resolved: Resolved,
  problems: Problems,
  validate: Validate,
): void {
  if (validate(resolved.value)) return;
  const converted = (validate.errors ?? []).filter((error) => convertVariable(resolved, error));
  if (converted.length > 0) validate(resolved.value);
  new StructureReport(document, problems).report(validate.errors ?? []);
}

/** `concurrency: ${CONCURRENCY}` arrives as text; where the schema wants a number it is one. */
function convertVariable(resolved: Resolved, error: SchemaError): boolean {
  const types: unknown = error.parentSchema?.type;
  if (!Array.isArray(types) || typeof error.data !== 'string' || !resolved.substitutions.has(error.instancePath))
    return false;
  const value = types.includes('boolean') ? booleans.get(error.data) : numberOf(types, error.data);
  const path = pathOf(error.instancePath);
  const key = path.pop();
  if (value === undefined || key === undefined) return false;
  let parent: unknown = resolved.value;
  for (const step of path) parent = childOf(parent, step);
  (parent as Record<string, unknown>)[key] = value;
  return true;
}

const booleans = new Map([
  ['true', true],
  ['false', false],
]);

function numberOf(types: readonly unknown[], text: string): number | undefined {
  const numeric = types.includes('integer') || types.includes('number');
  return numeric && /^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
}

/** ajv tells of one mistake in several ways (every branch of a oneOf, say); this keeps the one that helps. */
class StructureReport {
  readonly #document: WrittenDocument;
  readonly #problems: Problems;
  /** Keys that were probably meant by misspelt ones, by the pointer of their mapping. */
  readonly #meant = new Map<string, Set<string>>();
  /** Pointers of mappings that are of no kind or of two: which of their keys are out of place can't be said. */
  readonly #undecided = new Set<string>();

  constructor(document: WrittenDocument, problems: Problems) {
    this.#document = document;
    this.#problems = problems;
  }

  report(errors: readonly SchemaError[]): void {
    for (const error of errors) {
      if (error.keyword === 'additionalProperties') this.#unknownKey(error);
      if (error.keyword === 'oneOf') this.#undecided.add(error.instancePath);
    }
    const told = new Set<string>();
    for (const error of errors) {
      if (!this.#problems.refuses(error.instancePath)) this.#explain(error, told);
    }
    for (const pointer of told) this.#problems.refuse(pointer);
  }

  #explain(error: SchemaError, told: Set<string>): void {
    const { keyword, instancePath, schemaPath, params } = error;
    if (keyword === 'additionalProperties' || keyword === 'if' || error.propertyName !== undefined) return;
    // The branches of a choice; the choice itself reports.
    if (/\/(oneOf|anyOf)\/\d/.test(schemaPath)) return;
    // Field.duration and Field.rate know more about these.
    if (/^#\/definitions\/(duration|rate)\//.test(schemaPath)) return;
    const path = pathOf(instancePath);
    if (keyword === 'required')
      this.#missing(path, [params.missingProperty], () => missingKey(path, params.missingProperty));
    else if (keyword === 'oneOf' || keyword === 'anyOf') this.#choice(error, path);
    else if (keyword === 'dependencies') {
      if (this.#undecided.has(instancePath)) return;
      const key = String(params.property);
      this.#at([...path, key], `\`${key}\` needs \`${params.missingProperty}\` beside it`, null);
    } else if (keyword === 'false schema') {
      if (this.#undecided.has(pointerOf(path.slice(0, -1)))) return;
      const [message, hint] = misplacedKey(path, this.#document.at(path.slice(0, -1)));
      this.#at(path, message, hint);
      told.add(instancePath);
    } else if (keyword === 'propertyNames') {
      const [message, hint] = namingRule(path, String(params.propertyName));
      this.#at([...path, String(params.propertyName)], message, hint);
    } else if (!told.has(instancePath)) {
      told.add(instancePath);
      const [message, hint] = wrongValue(error, path, this.#document.at(path));
      this.#problems.add(this.#document.position(path), message, hint);
    }
  }

  #unknownKey(error: SchemaError): void {
    const key = String(error.params.additionalProperty);
    const path = pathOf(error.instancePath);
    const known = Object.keys((error.parentSchema?.properties ?? {}) as object);
    const meant = unsupportedKeys.has(key) ? null : nearest(key, known);
    const [message, hint] = unknownKey(path, key, known, meant);
    this.#at([...path, key], message, hint);
    const all = this.#meant.get(error.instancePath) ?? new Set();
    // A kind that isn't built (`sql: …`) stands where one of the known kinds would.
    this.#meant.set(error.instancePath, all.add(meant ?? (unsupportedKeys.has(key) ? anyKind : '')));
  }

  #choice(error: SchemaError, path: readonly string[]): void {
    // A value of another type is told of as such.
    if (error.data === null || typeof error.data !== 'object' || Array.isArray(error.data)) return;
    const branches = (error.schema as { required: string[] }[]).map((branch) => branch.required[0] ?? '');
    const given = branches.filter((key) => childOf(error.data, key) !== undefined);
    if (given.length > 1) {
      const [message, hint] = missingChoice(path, branches, given);
      this.#at([...path, given[1] ?? ''], message, hint);
      return;
    }
    this.#missing(path, [...branches, anyKind], () => missingChoice(path, branches, given));
  }

  /** Says that a key is missing, unless a misspelt one explains it. */
  #missing(path: readonly string[], keys: readonly string[], say: () => readonly [string, string | null]): void {
    const meant = this.#meant.get(pointerOf(path));
    if (meant !== undefined && keys.some((key) => meant.has(key))) return;
    const [message, hint] = say();
    this.#at(path, message, hint);
  }

  #at(path: readonly string[], message: string, hint: string | null): void {
    this.#problems.add(this.#document.keyPosition(path), message, hint);
  }
}

const anyKind = '*';
