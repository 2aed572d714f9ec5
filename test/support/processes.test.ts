import { expect, test } from 'vitest';
import { startProcess } from './processes.ts';

const node = (source: string) => startProcess(process.execPath, ['-e', source]);

test('waitForLine finds lines that came before and lines that come later, on both outputs', async () => {
  const child = node(`console.log('first 1'); console.error('second 2'); setTimeout(() => {}, 60_000)`);
  expect((await child.waitForLine(/^second (\d)$/))[1]).toBe('2');
  expect((await child.waitForLine(/^first (\d)$/))[1]).toBe('1');
});

test('waitForLine shows the output when the process ends without the line', async () => {
  const child = node(`console.log('no such file'); process.exit(3)`);
  await expect(child.waitForLine(/ready/)).rejects.toThrow(/it ended with status 3 before[\s\S]*no such file/);
  expect(await child.exited).toEqual({ status: 3, signal: null, stdout: 'no such file\n', stderr: '' });
});

test('waitForLine shows the output when the time is up', async () => {
  const child = node(`console.log('still starting'); setTimeout(() => {}, 60_000)`);
  await child.waitForLine(/still starting/);
  await expect(child.waitForLine(/ready/, 50)).rejects.toThrow(/50 ms went by before[\s\S]*still starting/);
});

test('kill resolves with the end', async () => {
  const child = node(`console.log('up'); setTimeout(() => {}, 60_000)`);
  await child.waitForLine(/up/);
  expect(await child.kill('SIGKILL')).toMatchObject({ status: null, signal: 'SIGKILL' });
});

test('a program that does not exist is reported', async () => {
  await expect(startProcess('/no/such/program', []).waitForLine(/x/)).rejects.toThrow(/could not be started .*ENOENT/);
});
