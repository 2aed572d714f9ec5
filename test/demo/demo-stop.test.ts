import { expect, test } from 'vitest';
import { program, startProcess, startProgram } from '../support/processes.ts';
import { nothing, summaryOf, until, watchedPlace } from './support.ts';

test('Ctrl-C while initdb runs: no server, no directory, status 0', async () => {
  const place = await watchedPlace();
  const demo = startProgram(['demo'], place);
  await until(async () => (await place.leftovers()).processes.some((command) => command.includes('initdb')));
  expect(await demo.kill('SIGINT')).toMatchObject({ status: 0, stderr: '' });
  expect(await place.leftovers()).toEqual(nothing);
});

test('Ctrl-C as soon as the server runs', async () => {
  const place = await watchedPlace();
  const demo = startProgram(['demo'], place);
  await until(async () => (await place.leftovers()).processes.some((command) => / -D .* -c port=/.test(command)));
  expect(await demo.kill('SIGINT')).toMatchObject({ status: 0, stderr: '' });
  expect(await place.leftovers()).toEqual(nothing);
});

test('SIGTERM in the middle of the failure: the summary, and nothing counts as lost that still waited', async () => {
  const place = await watchedPlace();
  const demo = startProgram(['demo', '--rate', '30/s'], place);
  await demo.waitForLine(/Too many failures|Billing had its 5 attempts/, 40_000);
  const { status, stdout, stderr } = await demo.kill('SIGTERM');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const { lost, deadLettered } = summaryOf(stdout);
  expect(lost).toBe(0);
  expect(deadLettered).toBeGreaterThan(0);
  expect(await place.leftovers()).toEqual(nothing);
}, 60_000);

test('a second Ctrl-C quits at once, without a process or a directory left', async () => {
  const place = await watchedPlace();
  const demo = startProgram(['demo', '--rate', '30/s'], place);
  await demo.waitForLine(/Too many failures/, 40_000);
  demo.signal('SIGINT');
  // From here on it waits for what the open breaker holds, longer than this test needs.
  await demo.waitForLine(/Stopping/);
  // Two signals within half a second are one: npm passes on what the terminal has sent already.
  demo.signal('SIGINT');
  await new Promise((resolve) => setTimeout(resolve, 600));
  const { status } = await demo.kill('SIGINT');
  expect(status).toBe(130);
  expect(await place.leftovers()).toEqual(nothing);
}, 60_000);

test('a reader that leaves early ends it', async () => {
  const place = await watchedPlace();
  const demo = startProcess(
    'bash',
    ['-c', `'${process.execPath}' '${program}' demo | head -3; exit \${PIPESTATUS[0]}`],
    place,
  );
  const { status, stdout } = await demo.exited;
  expect(stdout.split('\n')).toHaveLength(4);
  expect(status).toBe(0);
  expect(await place.leftovers()).toEqual(nothing);
});
