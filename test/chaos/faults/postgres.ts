import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../cluster.ts';

/** `pg_ctl restart -m immediate`: no checkpoint, every session cut in the middle; it recovers from its log. */
export async function restartImmediately(cluster: Cluster, downMs = 0): Promise<void> {
  await cluster.stop('immediate');
  await sleep(downMs);
  await cluster.start();
}

/**
 * SIGKILL of the postmaster alone. Its children notice by themselves, some of them after having gone on for a while; what
 * is still there after `graceMs` is killed too, as a supervisor would, for a new server refuses to start beside them.
 */
export async function killPostmaster(cluster: Cluster, graceMs = 3_000): Promise<void> {
  const pid = await cluster.postmasterPid();
  const children = await childrenOf(pid);
  process.kill(pid, 'SIGKILL');
  for (const deadline = Date.now() + graceMs; children.some(isAlive) && Date.now() < deadline; ) await sleep(20);
  for (const child of children.filter(isAlive)) kill(child);
  while (children.some(isAlive)) await sleep(20);
  await cluster.start();
}

/** Until it is up and stays up: a server that can't write ends in its recovery. */
export async function startWhenDown(cluster: Cluster): Promise<void> {
  if (!(await cluster.isUp())) await cluster.start();
}

async function childrenOf(parent: number): Promise<number[]> {
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const parents = await Promise.all(processes.map(parentOf));
  return processes.filter((_, n) => parents[n] === parent);
}

/** The fourth field of stat; the second is the name in parentheses, which may hold anything. */
async function parentOf(pid: number): Promise<number | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const parent = /^\d+ \(.*\) \S (\d+)/s.exec(stat)?.[1];
  return parent === undefined ? null : Number(parent);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // has just ended by itself
  }
}
