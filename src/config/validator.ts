import { compiledLater } from './compile-validator.ts';
import { schema } from './schema.ts';

/** Of observers.yaml. The build puts in the place of this module what ajv makes of the schema (`write-validators.ts`). */
export const rulesValidator = compiledLater(schema);
