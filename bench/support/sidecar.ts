import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from '../../src/config/index.ts';
import { applyCapture } from '../../src/transport/postgres/capture-plan.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { type Child, startChild } from './child.ts';
import { sleep } from './figures.ts';

/** observers.yaml as an object; YAML reads JSON. */
export type Rules = Parameters<typeof defineConfig>[0] & { readonly database: string };

const program = new URL('../../dist/cli/main.js', import.meta.url).pathname;

export interface Sidecar extends Child {
  /** From the spawn until `/readyz` said so, milliseconds. */
  readonly startedInMs: number;
}

/** Tables, triggers and migrations, as `pg-observers apply` makes them. */
export async function apply(rules: Rules): Promise<void> {
  const pool = createPool(rules.database, 2);
  try {
    await applyCapture(pool, defineConfig(rules));
  } finally {
    await pool.end();
  }
}

/**
 * The built program, `pg-observers run`, in a process of its own; resolves when it is ready. It logs warnings only, as the rivals
 * do: whoever keeps a line for each attempt pays for it everywhere.
 */
export async function startSidecar(rules: Rules, nodeFlags: readonly string[] = []): Promise<Sidecar> {
  if (!existsSync(program)) throw new Error('dist/ is missing: run `npm run build` first');
  const folder = await mkdtemp(join(tmpdir(), 'pg-observers-bench-'));
  const file = join(folder, 'observers.yaml');
  const listen = `127.0.0.1:${await freePort()}`;
  await writeFile(file, JSON.stringify({ ...rules, settings: { ...rules.settings, listen } }));
  const began = performance.now();
  const args = [...nodeFlags, program, 'run', '--config', file, '--log-level', 'warn'];
  const { child } = await startChild(process.execPath, args, null);
  await ready(`http://${listen}/readyz`);
  const startedInMs = performance.now() - began;
  return {
    ...child,
    startedInMs,
    stop: async () => {
      await child.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function ready(url: string): Promise<void> {
  for (let tries = 0; tries < 3_000; tries++) {
    const answer = await fetch(url).catch(() => null);
    await answer?.arrayBuffer();
    if (answer?.status === 200) return;
    await sleep(10);
  }
  throw new Error(`${url} did not become ready`);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
