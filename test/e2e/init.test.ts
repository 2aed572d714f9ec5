import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { runProgram } from '../support/processes.ts';
import { createRole, keyOf, receiver } from './shop.ts';
import { scratchFolder, startSidecar } from './support.ts';

const noDatabase = { DATABASE_URL: undefined, PG_OBSERVERS_DIRECT_DATABASE: undefined };

const tables = `
create table public.orders (id bigint primary key, status text);
create table public.users (id uuid primary key, email text, password_hash text);
create table public.visits (day date, page text, primary key (day, page)) partition by range (day);
create table public.visits_2026 partition of public.visits for values from ('2026-01-01') to ('2027-01-01');
create table public.animals (name text);
create table public.cats (whiskers int) inherits (public.animals);
create view public.seen as select * from public.visits;
create schema "Sales";
create table "Sales"."Big Deals" (id int primary key);
create extension if not exists file_fdw`;

test('init writes a file from the tables of the database, which validates, plans, and delivers', async () => {
  const database = await createDatabase('init');
  await database.query(tables);
  const cwd = await scratchFolder();
  const { url } = await createRole(database, 'superuser', 's3cret-word');
  const env = { ...noDatabase, DATABASE_URL: url };
  const later = { ...noDatabase, PGPASSWORD: 's3cret-word' };
  const end = await runProgram(['init'], { cwd, env });
  expect(end).toMatchObject({ status: 0, stderr: '' });
  expect(end.stdout).toMatch(/^Wrote observers\.yaml: 5 sources, 1 observer, 1 destination\.\n/);
  const text = await readFile(join(cwd, 'observers.yaml'), 'utf8');
  expect(text).not.toContain('s3cret-word');
  expect(text.match(/^ {4}table: .*$/gm)).toEqual([
    '    table: public.animals # no primary key: its events have no key',
    '    table: public.orders # primary key: id',
    '    table: public.users # primary key: id',
    '    table: public.visits # primary key: day, page; partitioned: its partitions come with it',
    `    table: '"Sales"."Big Deals"' # primary key: id`,
  ]);
  expect(text).toContain('    columns: [id, email]\n');

  // What it says comes next works as it is written, without DATABASE_URL: the file knows where the database is, save the password.
  const next = [...end.stdout.matchAll(/^ {2}pg-observers (.*?) {2,}/gm)].map((match) => (match[1] ?? '').split(' '));
  expect(next.map(([command]) => command)).toEqual(['validate', 'receiver', 'run']);
  expect(await runProgram(next[0] ?? [], { cwd, env: later })).toMatchObject({ status: 0 });
  const hooks = await receiver();
  await startSidecar('observers.yaml', { cwd, env: { ...later, WEBHOOK_URL: hooks.url } });
  await database.query(`insert into public.orders values (7, 'open')`);
  expect((await hooks.received.waitFor(1, 20_000)).map(keyOf)).toEqual(['7']);
});

test('an existing file stays, unless --force; --stdout prints the file and nothing else', async () => {
  const cwd = await scratchFolder();
  await writeFile(join(cwd, 'observers.yaml'), 'mine');
  const kept = await runProgram(['init', '--database', 'postgres://127.0.0.1:9/nothing'], { cwd, env: noDatabase });
  expect(kept).toMatchObject({
    status: 2,
    stdout: '',
    stderr: expect.stringMatching(/^observers\.yaml is there already: .*--force/),
  });
  expect(await readFile(join(cwd, 'observers.yaml'), 'utf8')).toBe('mine');

  const printed = await runProgram(['init', '--stdout'], { cwd, env: noDatabase });
  expect(printed).toMatchObject({ status: 0, stderr: expect.stringContaining('Next:') });
  expect(await readFile(join(cwd, 'observers.yaml'), 'utf8')).toBe('mine');

  const forced = await runProgram(['init', '--force', '--json'], { cwd, env: noDatabase });
  expect(JSON.parse(forced.stdout)).toMatchObject({ file: join(cwd, 'observers.yaml'), sources: 1, left_out: [] });
  expect(await readFile(join(cwd, 'observers.yaml'), 'utf8')).toBe(printed.stdout);
  expect(await runProgram(['validate'], { cwd, env: noDatabase })).toMatchObject({ status: 0 });
});

test('a database that is away, and a folder that is not there', async () => {
  const cwd = await scratchFolder();
  const away = await runProgram(['init', '--database', 'postgres://127.0.0.1:9/nothing'], { cwd, env: noDatabase });
  expect(away).toMatchObject({ status: 3, stdout: '' });
  const lost = await runProgram(['init', 'no/such/rules.yaml'], { cwd, env: noDatabase });
  expect(lost).toMatchObject({ status: 2, stderr: expect.stringContaining("can't write no/such/rules.yaml: ENOENT") });
  const named = await runProgram(['init', 'my rules.yaml', '--no-database'], {
    cwd,
    env: { ...noDatabase, DATABASE_URL: 'nonsense' },
  });
  expect(named.stdout).toContain("pg-observers validate 'my rules.yaml' --database");
});
