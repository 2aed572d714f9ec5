import { rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import standalone from 'ajv/dist/standalone/index.js';
import { createAjv } from './compile-validator.ts';
import { testSchema } from './rule-tests/schema.ts';
import { schema } from './schema.ts';
import type { JsonSchema } from './schema-values.ts';

/*
 * The last step of `npm run build`, never of a run from source: it puts functions that ajv wrote into dist/, in the place of
 * the modules that would have ajv write them each time a command starts. Nothing that is generated is kept in the repository,
 * so nothing can be out of date.
 */

const modules: readonly (readonly [file: string, exported: string, schema: JsonSchema])[] = [
  ['./validator.js', 'rulesValidator', schema],
  ['./rule-tests/validator.js', 'testsValidator', testSchema],
];

/** What the generated code would take from ajv, which then need not be installed: by the name of ajv's module. */
const helpers: Readonly<Record<string, (name: string) => string>> = {
  ucs2length: (name) => `const ${name} = (text) => [...text].length;`,
  equal: (name) => `import { isDeepStrictEqual as ${name} } from 'node:util';`,
};

for (const [file, exported, format] of modules) {
  const path = fileURLToPath(new URL(file, import.meta.url));
  writeFileSync(path, moduleText(exported, format));
  rmSync(`${path}.map`, { force: true });
}

/** @throws Error when the code needs more of ajv than the helpers */
function moduleText(exported: string, format: JsonSchema): string {
  const ajv = createAjv({ source: true, esm: true, lines: true });
  const code = standalone
    .default(ajv, ajv.compile(format))
    .replaceAll(
      /const (\w+) = require\("ajv\/dist\/runtime\/(\w+)"\)\.default;/g,
      (_, name: string, module: string) => helpers[module]?.(name) ?? `require(${module})`,
    );
  if (code.includes('require('))
    throw new Error(`what ajv wrote for ${exported} needs more than ${Object.keys(helpers)}`);
  return `${code.replace(/^export const validate = .*$/m, '').replace('export default', 'const validate =')}
export const ${exported} = () => validate;
`;
}
