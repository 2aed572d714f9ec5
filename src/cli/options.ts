import { existsSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import type pg from 'pg';
import type { LoadOptions } from '../config/index.ts';
import { parseDuration, parseRate } from '../config/units.ts';
import { ConfigError, UserError } from '../domain/errors.ts';
import type { Config } from '../domain/rules.ts';
import { describeError, isTransient, redactUrl, sqlState, unreachable } from '../transport/postgres/failures.ts';

export const defaultConfigFile = 'observers.yaml';

export const configOption = () =>
  new Option('-c, --config <file>', 'the rules').default(defaultConfigFile).env('PG_OBSERVERS_CONFIG');

export const databaseOption = () => new Option('-d, --database <url>', 'another database than the one the file names');

export const jsonOption = () => new Option('--json', 'print JSON, for programs');

/** With the options of every command that reads the file and the database. */
export function command(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addOption(configOption())
    .addOption(databaseOption())
    .addOption(jsonOption());
}

export interface ConfigOptions {
  readonly config: string;
  readonly database?: string;
}

/** Loaded when it is needed: the expression language and the schema's validator take a quarter of a second. */
async function loadConfig(file: string, options: LoadOptions = {}): Promise<Config> {
  return (await import('../config/index.ts')).loadConfig(file, options);
}

/** The rules, on the database of `--database` when given. @throws ConfigError | UserError */
export async function readConfig({ config: file, database }: ConfigOptions): Promise<Config> {
  return loadConfig(file, database === undefined ? {} : { database });
}

/** Where the tables are, for commands that need no rules: `--database`, the file, or DATABASE_URL when there is no file. */
export async function readDatabaseUrl({ config: file, database }: ConfigOptions): Promise<string> {
  if (database !== undefined) return postgresUrl(database, '--database');
  const { DATABASE_URL, PG_OBSERVERS_DIRECT_DATABASE } = process.env;
  const url = PG_OBSERVERS_DIRECT_DATABASE || DATABASE_URL;
  if (!existsSync(file) && url !== undefined && url !== '')
    return postgresUrl(url, PG_OBSERVERS_DIRECT_DATABASE ? 'PG_OBSERVERS_DIRECT_DATABASE' : 'DATABASE_URL');
  try {
    return sessionUrl(await loadConfig(file));
  } catch (error) {
    // Who looks what is wrong in the night need not first correct a file that this command has no other use for.
    if (error instanceof ConfigError)
      console.error(`Only the database is wanted of ${file}: --database URL does without it.`);
    throw error;
  }
}

/** Not shown when it is wrong: it may hold a password all the same. */
function postgresUrl(url: string, from: string): string {
  if (/^postgres(ql)?:\/\//.test(url)) return url;
  throw new UserError(`${from} must be a URL such as postgres://user:password@localhost/shop.`, 2);
}

/** What a person does now and then can afford a session, and needs no pooler. */
export const sessionUrl = ({ database, directDatabase }: Config): string => directDatabase ?? database;

/** Runs `work` on a pool of its own; a database that is away becomes an error with exit status 3. */
export async function withDatabase<T>(url: string, work: (pool: pg.Pool) => Promise<T>): Promise<T> {
  const { createPool } = await import('../transport/postgres/connection.ts');
  const pool = createPool(url, 2);
  try {
    // Whatever fails while connecting (login, TLS, no such database) is about reaching it, and not a bug of ours.
    const client = await pool.connect().catch((error: unknown) => {
      throw unreachable(url, error);
    });
    client.release();
    return await work(pool);
  } catch (error) {
    if (error instanceof UserError) throw error;
    if (isTransient(error)) throw unreachable(url, error);
    if (sqlState(error) === '42P01' || sqlState(error) === '3F000') {
      throw new UserError(`${redactUrl(url)} has no pg-observers tables: run \`pg-observers apply\` first.`, 1, {
        cause: error,
        code: 'PGO-NOT-APPLIED',
      });
    }
    if (sqlState(error) === '42501')
      throw new UserError(`${redactUrl(url)}: ${describeError(error)}.`, 1, { cause: error, code: 'PGO-RIGHTS' });
    throw error;
  } finally {
    await pool.end();
  }
}

/** `30s`, `5m` as milliseconds. */
export function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new InvalidArgumentError('Write a duration such as 500ms, 30s, 5m, 2h or 7d.');
  return ms;
}

/** `2h` ago, or an instant with its zone, as ISO 8601. */
export function moment(text: string): string {
  const ago = parseDuration(text);
  if (ago !== null) return new Date(Date.now() - ago).toISOString();
  // As written, for Date knows only milliseconds.
  if (/^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:?\d\d)$/.test(text) && !Number.isNaN(Date.parse(text))) return text;
  throw new InvalidArgumentError('Write 30m, 2h or 7d, or an instant with its zone: 2026-11-20T12:00:00Z.');
}

/** `10/s`, `600/m`. */
export function rate(text: string): { readonly count: number; readonly perMs: number } {
  const parsed = parseRate(text);
  if (parsed === null) throw new InvalidArgumentError('Write a rate such as 10/s, 600/m or 100/h.');
  return parsed;
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('Write a whole number from 1 on.');
  return value;
}

export function identifier(text: string): string {
  if (!/^[1-9]\d{0,18}$/.test(text)) throw new InvalidArgumentError('Write the number that `dlq list` shows.');
  return text;
}
