import { compiledLater } from '../compile-validator.ts';
import { testSchema } from './schema.ts';

/** Of observers.test.yaml. The build puts in the place of this module what ajv makes of the schema (`write-validators.ts`). */
export const testsValidator = compiledLater(testSchema);
