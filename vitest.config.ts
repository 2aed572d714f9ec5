import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // One Postgres for the whole run, a database per file cloned from a template.
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // One fewer than there are cores is vitest's default, which is one on two; and most files wait for servers and programs.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
