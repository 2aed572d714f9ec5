/** Building blocks of the JSON Schema (draft-07). `errorMessage` is what editors show; `${…}` passes everywhere. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** A key whose value is text. */
export function text(description: string, more: JsonSchema = {}): JsonSchema {
  return { description, type: 'string', minLength: 1, ...more };
}

/** A whole number, or a variable that holds one. */
export function whole(description: string, minimum: number, maximum: number, more: JsonSchema = {}): JsonSchema {
  return { description, type: ['integer', 'string'], minimum, maximum, pattern: variable, ...more };
}

/** @param fallback null when leaving it out is neither */
export function flag(description: string, fallback: boolean | null): JsonSchema {
  return {
    description,
    type: ['boolean', 'string'],
    pattern: variable,
    ...(fallback !== null && { default: fallback }),
  };
}

export function duration(description: string, more: JsonSchema = {}): JsonSchema {
  return { description, $ref: '#/definitions/duration', ...more };
}

/** A mapping with these keys and no others. */
export function record(description: string, properties: JsonSchema, more: JsonSchema = {}): JsonSchema {
  return { description, type: 'object', additionalProperties: false, properties, ...more };
}

/** A mapping from names to what `definition` describes. */
export function named(description: string, definition: string): JsonSchema {
  return {
    description,
    type: 'object',
    propertyNames: { pattern: name },
    additionalProperties: { $ref: `#/definitions/${definition}` },
  };
}

export const name = '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$';
export const variable = '^\\$\\{';

/** A value built from the event: any type, with `${{ expression }}` in its texts. */
export function template(description: string, more: JsonSchema = {}): JsonSchema {
  return { description: `${description} \`\${{ expression }}\` inserts values of the event.`, ...more };
}

export function templateText(description: string, more: JsonSchema = {}): JsonSchema {
  return template(description, { type: 'string', minLength: 1, ...more });
}

export const durationDefinition: JsonSchema = {
  type: 'string',
  pattern: '^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$|\\$\\{',
  errorMessage: 'A number and a unit: 500ms, 10s, 5m, 2h, 7d',
  examples: ['500ms', '10s', '5m', '2h', '7d'],
};

export const rateDefinition: JsonSchema = {
  type: 'string',
  pattern: '^[0-9]+/(s|m|h)$|\\$\\{',
  errorMessage: 'A whole number per second, minute or hour: 100/s, 6000/m, 10/h',
  examples: ['100/s', '6000/m', '10/h'],
};
