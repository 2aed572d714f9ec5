import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { completionNodes, completionScript, shells } from '../../src/cli/completion.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { startProcess } from '../support/processes.ts';

const nodes = completionNodes(buildProgram());
let script = '';
beforeAll(() => {
  script = completionScript('bash', nodes);
});

/** What bash would offer behind these words, the last of which is being written. */
async function offered(...words: string[]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'completion-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'pg-observers.bash');
  await writeFile(file, script);
  const line = ['pg-observers', ...words].map((word) => `'${word}'`).join(' ');
  const ask = `set -u; source '${file}'; COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _pg_observers; printf '%s\\n' \${COMPREPLY[@]+"\${COMPREPLY[@]}"}`;
  const end = await startProcess('bash', ['--norc', '-c', ask]).exited;
  expect(end).toMatchObject({ status: 0, stderr: '' });
  return end.stdout.split('\n').filter((word) => word !== '');
}

test('commands, from their beginnings', async () => {
  expect(await offered('va')).toEqual(['validate', 'validate-config']);
  expect(await offered('')).toEqual(expect.arrayContaining(['run', 'doctor', 'init', 'dlq', 'completion']));
  expect(await offered('dlq', 're')).toEqual(['retry', 'retry-all']);
  expect(await offered('dlq', '--json', 'sh')).toEqual(['show']);
});

test('options, those of the command, and none that is hidden', async () => {
  expect(await offered('run', '--no')).toEqual(['--no-apply']);
  expect(await offered('run', '--json')).toEqual([]);
  expect(await offered('dlq', 'retry-all', '--r')).toEqual(['--rate']);
  expect(await offered('plan', '-')).toEqual(expect.arrayContaining(['-c', '--config', '--json', '--help']));
});

test('choices of options and arguments; where anything may stand, the shell offers files', async () => {
  expect(await offered('run', '--log-level', '')).toEqual(['debug', 'info', 'warn', 'error', 'silent']);
  expect(await offered('completion', '')).toEqual([...shells]);
  expect(await offered('run', '--config', 'o')).toEqual([]);
  expect(await offered('validate', 'obs')).toEqual([]);
});

test('fish knows each command and option; a quote in a description ends nothing', () => {
  const fish = completionScript('fish', nodes);
  for (const { path, commands, options } of nodes) {
    for (const { name } of commands) expect(fish).toContain(`'__pg_observers_at ${path.join(' ')}' -a ${name} `);
    for (const { flags } of options)
      for (const flag of flags) expect(fish).toContain(flag.replace(/^--/, '-l ').replace(/^-(\w)$/, '-s $1'));
  }
  const odd = [{ path: [], commands: [{ name: 'x', description: "it's \\ odd" }], options: [], choices: [] }];
  expect(completionScript('fish', odd)).toContain("-d 'it\\'s \\\\ odd'");
});
