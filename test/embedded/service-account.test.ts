import { chmod, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { blockedAt } from '../../src/embedded/service-account.ts';

const stranger = { uid: 65_533, gid: 65_533 };
let root: string;
let program: string;

beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'account-test-')));
  await mkdir(join(root, 'home/bin'), { recursive: true });
  program = join(root, 'home/bin/program');
  await writeFile(program, '');
  for (const path of [root, join(root, 'home'), join(root, 'home/bin'), program]) await chmod(path, 0o755);
});
afterEach(() => rm(root, { recursive: true, force: true }));

test('a path open to all blocks nobody', async () => {
  expect(await blockedAt(program, stranger)).toBeNull();
});

test('a parent need only be passed through', async () => {
  await chmod(join(root, 'home'), 0o711);
  expect(await blockedAt(program, stranger)).toBeNull();
});

test('the first closed parent is named', async () => {
  await chmod(join(root, 'home'), 0o700);
  await chmod(join(root, 'home/bin'), 0o700);
  expect(await blockedAt(program, stranger)).toBe(join(root, 'home'));
});

test('a program that others may not run blocks itself', async () => {
  await chmod(program, 0o744);
  expect(await blockedAt(program, stranger)).toBe(program);
});

test("the owner and the group are judged by the owner's and the group's bits", async () => {
  await chmod(join(root, 'home'), 0o710);
  const uid = process.getuid?.() ?? 0;
  const gid = process.getgid?.() ?? 0;
  expect(await blockedAt(program, { uid, gid: 65_533 })).toBeNull();
  expect(await blockedAt(program, { uid: 65_533, gid })).toBeNull();
  expect(await blockedAt(program, stranger)).toBe(join(root, 'home'));
});
