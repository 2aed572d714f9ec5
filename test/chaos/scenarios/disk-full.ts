import { execFile } from 'node:child_process';
import { mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Cluster } from '../cluster.ts';
import { startWhenDown } from '../faults/postgres.ts';
import { mountSmallDisk, type SmallDisk, whyNoSmallDisk } from '../faults/small-disk.ts';
import type { Scenario } from '../scenario.ts';

const megabytes = 400;
let disk: SmallDisk | null = null;

export const diskFull: Scenario = {
  name: 'disk-full',
  promise:
    'When the disk of PostgreSQL is full, the instances stop cleanly, say so, and go on by themselves when there is space; nothing is lost, and only what was in flight repeats.',
  instances: 2,
  repeats: 'in flight',
  rules: { instanceTimeoutMs: 3_000 },
  // Little log of its own, so that the disk is filled by the data.
  postgres: { max_wal_size: '64MB', min_wal_size: '32MB' },
  available: whyNoSmallDisk,
  async prepare({ cluster }) {
    const mounted = await moveToSmallDisk(cluster);
    disk = mounted;
    return { close: () => moveBack(cluster, mounted) };
  },
  async nemesis({ rest, random, faults, cluster, say }) {
    while (await rest(random.between(3_000, 6_000))) {
      // Next to nothing: the log is full, too, and the server ends. Some: tables can't grow.
      const leave = random.pick([0, 0, 100_000]);
      await faults.during({ kind: 'disk full', permits: 'repeats', note: `${leave} bytes left` }, async () => {
        await disk?.fill(leave);
        await rest(random.between(4_000, 10_000));
        await disk?.free();
        if (!(await cluster.isUp())) say('PostgreSQL ended by itself');
        await startWhenDown(cluster);
        await rest(1_000);
      });
    }
  },
  async heal({ cluster }) {
    await disk?.free();
    await startWhenDown(cluster);
  },
  async verify({ fleet, workload }) {
    const told = fleet.said.filter(
      ({ event, message }) => event === 'database.unreachable' && /no space/i.test(message),
    );
    // A few failed writes may all have been the writers'.
    const felt = (workload.failures.get('53100') ?? 0) > 20;
    return felt && told.length === 0 ? ['no instance said that there is no space'] : [];
  },
};

const largeOf = ({ dataDirectory }: Cluster) => `${dataDirectory}.large`;

/** The data directory, while the server is down. */
async function moveToSmallDisk(cluster: Cluster): Promise<SmallDisk> {
  await cluster.stop('fast');
  await rename(cluster.dataDirectory, largeOf(cluster));
  await mkdir(cluster.dataDirectory);
  const small = await mountSmallDisk(cluster.dataDirectory, megabytes);
  await copyAll(largeOf(cluster), cluster.dataDirectory);
  await cluster.start();
  return small;
}

/** A mounted directory can't be removed, and the data of a run that failed are evidence. */
async function moveBack(cluster: Cluster, small: SmallDisk): Promise<void> {
  await small.free();
  await cluster.stop('fast').catch(() => undefined);
  await rm(largeOf(cluster), { recursive: true });
  await mkdir(largeOf(cluster));
  await copyAll(cluster.dataDirectory, largeOf(cluster));
  await small.unmount();
  await rmdir(cluster.dataDirectory);
  await rename(largeOf(cluster), cluster.dataDirectory);
}

/** With owners and modes, those of the directory itself included. */
async function copyAll(from: string, to: string): Promise<void> {
  await promisify(execFile)('cp', ['-a', `${from}/.`, to]);
}
