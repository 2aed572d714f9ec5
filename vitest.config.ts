import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/longest-first.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // One Postgres for the whole run, a database per file cloned from a template.
    globalSetup: ['test/support/global-setup.ts'],
    // Only against waiting for ever: what a test waits for says itself that it did not come (20 s mostly, and by name). A test that
    // starts twenty programs takes twenty seconds alone, and many times that beside others.
    testTimeout: 120_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // A new process that loads everything again for each file is a third of the time of most of them. No test replaces modules
    // or the clock, and what they start ends with them.
    isolate: false,
    // Most files wait for servers and programs: with as many workers as cores, or fewer as is vitest's default, cores idle.
    maxWorkers: Math.max(3, availableParallelism()),
    sequence: { sequencer: LongestFirst },
  },
});
