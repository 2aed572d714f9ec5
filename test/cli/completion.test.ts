import { describe, expect, test } from 'vitest';
import { completionScript, shells } from '../../src/cli/completion.ts';
import { onPath } from '../support/on-path.ts';
import { offered, type Way, ways } from './shells.ts';

/** `.ci/run` installs them where it may. */
const missing = shells.filter((shell) => !onPath(shell));
for (const shell of missing)
  console.warn(`${shell} is not installed (apt-get install ${shell}): completion in it is not tested`);

const inShell = (way: Way) => test.skipIf(missing.includes(ways[way]));

describe.each<Way>(['bash', 'zsh', 'fish'])('%s', (way) => {
  inShell(way)('commands, from their beginnings', async () => {
    expect(await offered(way, 'va')).toEqual(['validate', 'validate-config']);
    expect(await offered(way, '')).toEqual(expect.arrayContaining(['run', 'doctor', 'init', 'dlq', 'completion']));
    expect(await offered(way, 'dlq', 're')).toEqual(['retry', 'retry-all']);
    expect(await offered(way, 'dlq', '--json', 'sh')).toEqual(['show']);
  });

  inShell(way)('options, those of the command, and none that is hidden', async () => {
    expect(await offered(way, 'run', '--no')).toEqual(['--no-apply']);
    expect(await offered(way, 'run', '--json')).toEqual([]);
    expect(await offered(way, 'dlq', 'retry-all', '--r')).toEqual(['--rate']);
    expect(await offered(way, 'plan', '-')).toEqual(expect.arrayContaining(['-c', '--config', '--json', '--help']));
  });

  inShell(way)('choices of options and arguments; where anything may stand, the shell offers files', async () => {
    expect(await offered(way, 'run', '--log-level', '')).toEqual(['debug', 'error', 'info', 'silent', 'warn']);
    expect(await offered(way, 'completion', '')).toEqual([...shells].sort());
    expect(await offered(way, 'run', '--config', 'o')).toEqual([]);
    expect(await offered(way, 'validate', 'obs')).toEqual([]);
  });
});

inShell('zsh by fpath')('the first Tab reads the script from $fpath, and has its answer', async () => {
  expect(await offered('zsh by fpath', 'dlq', 're')).toEqual(['retry', 'retry-all']);
});

test('a quote in a description ends nothing', () => {
  const odd = [{ path: [], commands: [{ name: 'x', description: "it's \\ odd" }], options: [], choices: [] }];
  expect(completionScript('fish', odd)).toContain("-d 'it\\'s \\\\ odd'");
});
