import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig, loadModules, parseConfig } from '../../src/config/index.ts';
import type { CustomAction } from '../../src/domain/custom-action.ts';
import type { Config } from '../../src/domain/rules.ts';

const directory = join(tmpdir(), `pg-observers-modules-${process.pid}`);
const file = join(directory, 'observers.yaml');
beforeAll(() => mkdir(join(directory, 'actions'), { recursive: true }));
afterAll(() => rm(directory, { recursive: true }));

const action = (version: number) =>
  `export default { open: () => ({ version: ${version}, send: async () => ({ outcome: 'delivered' }) }) };`;

const written = async (path: string, text: string) => {
  await writeFile(join(directory, 'actions', path), text);
  await writeFile(
    file,
    `version: 1
database: postgres://localhost/shop
destinations:
  pager: { module: ./actions/${path}, with: { key: "\${KEY}", region: eu, list: [1] } }
`,
  );
};

const load = () => loadConfig(file, { env: { KEY: 's3cret-k3y' } });

function moduleOf(config: Config): { action: CustomAction | null; with: unknown } {
  const pager = config.destinations.get('pager');
  if (pager?.kind !== 'module') throw new Error('no module');
  return { action: pager.module.action, with: pager.with };
}

function versionOf(config: Config): unknown {
  const opened = moduleOf(config).action?.open({}, { log: () => {} });
  return (opened as { version?: number } | undefined)?.version;
}

test('a module is found from the file, and gets its options', async () => {
  await written('one.mjs', action(1));
  const config = await load();
  expect(versionOf(config)).toBe(1);
  expect(moduleOf(config).with).toEqual({ key: 's3cret-k3y', region: 'eu', list: [1] });
  expect(config.secrets).toContain('s3cret-k3y');
});

test('a changed module is another one, an unchanged one is the same', async () => {
  await written('two.mjs', action(1));
  const [first, again] = [await load(), await load()];
  expect(moduleOf(again).action).toBe(moduleOf(first).action);
  await written('two.mjs', action(2));
  const second = await load();
  expect(versionOf(second)).toBe(2);
  expect(versionOf(first)).toBe(1);
  expect(JSON.stringify(second.destinations.get('pager'))).not.toBe(JSON.stringify(first.destinations.get('pager')));
});

test.each([
  ['throws.mjs', 'throw new Error("no licence");', "the module `./actions/throws.mjs` can't be loaded: no licence"],
  ['shape.mjs', 'export default { send() {} };', 'the module `./actions/shape.mjs` exports no action'],
  ['empty.mjs', '', 'the module `./actions/empty.mjs` exports no action'],
  ['lacks.mjs', 'import "./nowhere.mjs";', "the module `./actions/lacks.mjs` can't be loaded: "],
])('%s is refused with its place', async (path, text, message) => {
  await written(path, text);
  const refused = await load().catch((error: Error) => error.message);
  expect(refused).toContain(`observers.yaml:4:20  ${message}`);
});

test('CommonJS, and functions without a default, are modules too', async () => {
  await written('common.cjs', 'module.exports = { open: () => ({ version: 3, send() {} }) };');
  expect(versionOf(await load())).toBe(3);
  await written('named.mjs', 'export const open = () => ({ version: 4, send() {} });');
  expect(versionOf(await load())).toBe(4);
});

test('what can not wait leaves modules unloaded until somebody does', async () => {
  await written('later.mjs', action(1));
  const yaml = `version: 1
database: postgres://localhost/shop
destinations: { pager: { module: ./actions/later.mjs } }`;
  const config = parseConfig(yaml, { file, env: {} });
  expect(moduleOf(config).action).toBeNull();
  expect(versionOf(await loadModules(config))).toBe(1);
});
