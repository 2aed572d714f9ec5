import { Ajv, type Options } from 'ajv';
import type { JsonSchema } from './schema-values.ts';
import type { Validate } from './validation.ts';

/** What our messages are made of, and every mistake at once. The tests hold our schemas against the schema of schemas. */
export function createAjv(code: NonNullable<Options['code']>): Ajv {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    strictTypes: false,
    strictRequired: false,
    validateSchema: false,
    code,
  });
  ajv.addKeyword('errorMessage');
  return ajv;
}

/** On first use, and without ajv's optimizer: it takes longer than all else that reading a file takes. */
export function compiledLater(schema: JsonSchema): () => Validate {
  let validate: Validate | undefined;
  return () => {
    validate ??= createAjv({ optimize: false }).compile(schema) as Validate;
    return validate;
  };
}
