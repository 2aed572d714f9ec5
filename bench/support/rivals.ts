import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { type Child, startChild } from './child.ts';

const run = promisify(execFile);
const folder = new URL('../rivals/', import.meta.url).pathname;
/** They need Node 22 or newer; the npm package `node` brings one. */
const node = `${folder}node_modules/node/bin/node`;

export type Rival = 'graphile-worker' | 'pg-boss';

export const rivalsInstalled = (): boolean => existsSync(node) && existsSync(`${folder}node_modules/pg-boss`);

/** As their lockfile says. */
export async function installRivals(): Promise<void> {
  if (rivalsInstalled()) return;
  console.error('Installing the rivals in bench/rivals …');
  // The package `node` fetches its binary in a script.
  await run('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts=false'], { cwd: folder });
}

export function versionOf(rival: Rival): string {
  return JSON.parse(readFileSync(`${folder}node_modules/${rival}/package.json`, 'utf8')).version;
}

export const nodeOfRivals = async (): Promise<string> => (await run(node, ['--version'])).stdout.trim();

export async function startRival(rival: Rival, env: Readonly<Record<string, string>>): Promise<Child> {
  const { child } = await startChild(node, [`${folder}${rival}.mjs`], /^ready/, env);
  return child;
}
