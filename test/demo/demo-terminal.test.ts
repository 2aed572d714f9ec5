import { spawnSync } from 'node:child_process';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { program, startProcess } from '../support/processes.ts';
import { nothing, summaryOf, watchedPlace } from './support.ts';

const hasScript = spawnSync('script', ['--version']).status === 0 && process.platform === 'linux';

test.runIf(hasScript)(
  'a terminal gets colours, and no line wider than itself',
  async () => {
    const place = await watchedPlace();
    const command = `stty cols 80; '${process.execPath}' '${program}' demo --changes 20 --exit --rate 10/s`;
    const demo = startProcess('script', ['-qec', command, '/dev/null'], {
      env: { ...place.env, NO_COLOR: undefined, TERM: 'xterm' },
    });
    const { stdout } = await demo.exited;
    expect(stdout).toContain('\u001b[32m✓ 200');
    expect(stdout).toContain('\u001b[31m');
    const lines = stripVTControlCharacters(stdout).replaceAll('\r', '').split('\n');
    // Cut, neither a URL nor a path nor the summary would be of use.
    const wide = lines.filter(
      (line) => line.length > 80 && !/postgresql:\/\/|observers\.example\.yaml|^demo: /.test(line),
    );
    expect(wide).toEqual([]);
    expect(summaryOf(lines.join('\n')).lost).toBe(0);
    expect(await place.leftovers()).toEqual(nothing);
  },
  60_000,
);
