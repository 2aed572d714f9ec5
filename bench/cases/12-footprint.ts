/** Start-up and memory of `run`, and what `npm install pg-observers` brings. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type BenchCase, roundsOf, sized } from '../support/bench.ts';
import { ours } from '../support/contenders.ts';
import { sleep } from '../support/figures.ts';
import { Samples } from '../support/result.ts';

const run = promisify(execFile);
const repository = new URL('../../', import.meta.url).pathname;
const name = 'pg-observers';

export const footprint: BenchCase = {
  number: 12,
  title: 'Start-up, memory and size',
  run: async (bench) => {
    const database = await bench.cluster.createDatabase('footprint');
    try {
      const contender = ours(database);
      await contender.install();
      const samples = new Samples();
      for (const _ of roundsOf(bench)) {
        const sidecar = await contender.start({ target: bench.receiver.url, concurrency: 20, tuned: 'latency' });
        samples.add(
          { name, role: 'ours', what: 'start-up, until ready', unit: 'ms' },
          sidecar.startedInMs ?? Number.NaN,
        );
        await sleep(sized(bench, 2_000, 1_000, 100));
        samples.add({ name, role: 'ours', what: 'memory, idle', unit: 'MB' }, sidecar.residentMb().now);
        await sidecar.stop();
      }
      const notes = ['Start-up on a migrated database with one observer.'];
      // The smoke test has no network.
      if (bench.scale === 'smoke')
        return { number: 12, title: footprint.title, figures: samples.figures, goals: [], shown: [], notes };
      const megabytes = await installedMb();
      const what = 'npm install --omit=optional';
      samples.add({ name, role: 'ours', what, unit: 'MB' }, megabytes);
      notes.push('The optional dependency is the embedded PostgreSQL, for the demo and for development.');
      const goals = [{ text: 'below 25 MB', samples: [megabytes], unit: 'MB', bound: { atMost: 25 } }];
      return { number: 12, title: footprint.title, figures: samples.figures, goals, shown: [], notes };
    } finally {
      await database.drop();
    }
  },
};

/** Packed as it would be published, installed in an empty project. MB (10^6 bytes) of files. */
async function installedMb(): Promise<number> {
  const project = await mkdtemp(join(tmpdir(), 'pg-observers-size-'));
  try {
    const pack = ['pack', '--json', '--ignore-scripts', '--pack-destination', project];
    const { stdout } = await run('npm', pack, { cwd: repository });
    const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
    await writeFile(join(project, 'package.json'), '{"private": true}');
    const install = ['install', '--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund', `./${filename}`];
    await run('npm', install, { cwd: project });
    return (await bytesIn(join(project, 'node_modules'))) / 1e6;
  } finally {
    await rm(project, { recursive: true, force: true });
  }
}

async function bytesIn(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(file.parentPath, file.name))).size));
  return sizes.reduce((total, size) => total + size, 0);
}
