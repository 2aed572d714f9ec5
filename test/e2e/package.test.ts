import { chmod, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startProcess } from '../support/processes.ts';
import { createShop, shopRules } from './shop.ts';
import { rulesFile, scratchFolder } from './support.ts';

const repository = new URL('../../', import.meta.url).pathname;

/** In a folder of their own, without lifecycle scripts: `npm test` has built already. */
async function packed(): Promise<{ tarball: string; files: string[] }> {
  const folder = await scratchFolder();
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const { status, stdout, stderr } = await startProcess('npm', args, { cwd: repository }).exited;
  if (status !== 0) throw new Error(`npm pack failed: ${stderr}`);
  const [report] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  return { tarball: join(folder, report.filename), files: report.files.map(({ path }) => path) };
}

test('the packed tarball holds what it needs and nothing else, and its binary runs validate, plan and apply', async () => {
  const { tarball, files } = await packed();
  const needed = [
    ...[
      'package.json',
      'README.md',
      'LICENSE',
      'examples/embedding.mjs',
      'observers.example.yaml',
      'schema/observers.schema.json',
    ],
    ...['dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'migrations/0001_observers.sql'],
  ];
  expect(files).toEqual(expect.arrayContaining(needed));
  const allowed =
    /^(deploy|dist|docs|examples|migrations|schema)\/|^([A-Z]+\.md|LICENSE|package\.json|observers\.example(\.test)?\.yaml)$/;
  // What ajv is for is done when the program is built.
  expect(files.filter((file) => /^dist\/config\/(compile-validator|write-)/.test(file))).toEqual([]);
  expect(files.filter((file) => !allowed.test(file) || /\.test\.[jt]s|\.ts\.map$/.test(file))).toEqual([]);

  // Installed as npm would, with the dependencies of this checkout: no network.
  const project = await scratchFolder();
  const installed = join(project, 'node_modules', 'pg-observers');
  await mkdir(installed, { recursive: true });
  const untar = await startProcess('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1']).exited;
  expect(untar).toMatchObject({ status: 0 });
  await symlink(join(repository, 'node_modules'), join(installed, 'node_modules'));
  await chmod(join(installed, 'dist/cli/main.js'), 0o755);
  await mkdir(join(project, 'node_modules', '.bin'));
  const binary = join(project, 'node_modules', '.bin', 'pg-observers');
  await symlink('../pg-observers/dist/cli/main.js', binary);

  const database = await createShop('packed');
  const rules = await rulesFile(shopRules({ database: database.url, url: 'http://127.0.0.1:9/' }));
  // npx takes longer than the program: once will do.
  const npx = startProcess('npx', ['--offline', '--no-install', 'pg-observers', '--version'], { cwd: project });
  const run = (...args: string[]) => startProcess(binary, args, { cwd: project }).exited;
  expect(await npx.exited).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  expect(await run('validate', rules)).toMatchObject({ status: 0, stdout: expect.stringContaining('is valid') });
  const plan = await run('plan', '-c', rules);
  expect(plan).toMatchObject({ status: 0, stdout: expect.stringContaining('create table observers.events') });
  expect(await run('apply', '-c', rules)).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/Done: \d+ steps\./),
  });
  const program = `import { createEngine, defineConfig } from 'pg-observers'; console.log(typeof createEngine, typeof defineConfig)`;
  const imported = startProcess(process.execPath, ['--input-type=module', '--eval', program], { cwd: project });
  expect(await imported.exited).toMatchObject({ status: 0, stdout: 'function function\n', stderr: '' });
}, 60_000);
