import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { UserError } from '../../domain/errors.ts';
import { localPort, type StarterFile, starterFile } from '../../starter/starter-file.ts';
import { surveyTables } from '../../transport/postgres/table-survey.ts';
import { defaultConfigFile, jsonOption, withDatabase } from '../options.ts';

interface Options {
  /** false: `--no-database`. */
  readonly database?: string | false;
  readonly force?: true;
  readonly stdout?: true;
  readonly json?: true;
}

/** Where nothing is known of a database. */
const placeholder = 'postgres://localhost:5432/postgres';

export function initCommand(): Command {
  return new Command('init')
    .description('Writes a first observers.yaml, from the tables of a database when there is one')
    .argument('[file]', 'where to', defaultConfigFile)
    .option('-d, --database <url>', 'the database whose tables become sources; default: DATABASE_URL, if set')
    .option('--no-database', 'look at no database, even when DATABASE_URL is set')
    .option('-f, --force', 'replace the file when there is one')
    .option('--stdout', 'print the file and write nothing')
    .addOption(jsonOption())
    .action(init);
}

async function init(file: string, options: Options): Promise<void> {
  const writes = options.stdout !== true;
  // Before the database is asked: whoever has a file already need not wait for it.
  if (writes && !options.force && existsSync(file)) throw exists(file);
  const url = databaseOf(options);
  const tables = url === null ? null : await withDatabase(url, (pool) => surveyTables(pool));
  const starter = starterFile({
    tables,
    database: url === null ? placeholder : withoutSecrets(url),
    schema: schemaFor(writes ? dirname(file) : '.'),
  });
  if (writes) await write(file, starter.text, options.force === true);
  report(file, starter, tables !== null, options);
}

function databaseOf({ database }: Options): string | null {
  if (database === false) return null;
  return database ?? (process.env.PG_OBSERVERS_DIRECT_DATABASE || process.env.DATABASE_URL || null);
}

/** Host, port, database and user. Of the parameters only those that hold no secret and that one can't connect without. */
function withoutSecrets(url: string): string {
  if (!URL.canParse(url)) return placeholder;
  const parsed = new URL(url);
  parsed.password = '';
  for (const name of [...parsed.searchParams.keys()]) {
    if (!['host', 'port', 'sslmode'].includes(name)) parsed.searchParams.delete(name);
  }
  // A `}` would end the variable that this is the default of.
  return /[{}$]/.test(parsed.href) ? placeholder : parsed.href;
}

/** The one that comes with the project in which the file stands, or else this program's own. */
function schemaFor(directory: string): string {
  const installed = 'node_modules/pg-observers/schema/observers.schema.json';
  if (existsSync(join(directory, installed))) return `./${installed}`;
  return fileURLToPath(new URL('../../../schema/observers.schema.json', import.meta.url));
}

async function write(file: string, text: string, force: boolean): Promise<void> {
  await writeFile(file, text, { flag: force ? 'w' : 'wx' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') throw exists(file);
    throw new UserError(`can't write ${file}: ${error.code ?? error.message}`, 2, { cause: error, code: 'PGO-FILE' });
  });
}

const exists = (file: string) =>
  new UserError(`${file} is there already: nothing was written. Name another file, or pass --force to replace it.`, 2, {
    code: 'PGO-FILE-EXISTS',
  });

function report(file: string, starter: StarterFile, fromTables: boolean, options: Options): void {
  const next = nextSteps(options.stdout ? defaultConfigFile : file);
  if (options.json) {
    const { text, sources, leftOut } = starter;
    const where = options.stdout ? { file: null, text } : { file: resolve(file) };
    console.log(
      JSON.stringify({ ...where, sources, left_out: leftOut, next: next.map(([command]) => command) }, null, 2),
    );
    return;
  }
  // What is printed for a pipe must be the file and nothing else.
  const say = options.stdout ? console.error : console.log;
  if (options.stdout) process.stdout.write(starter.text);
  else say(`Wrote ${file}: ${summary(starter, fromTables)}.`);
  if (starter.leftOut.length > 0) say(`Left out, the file says why: ${starter.leftOut.join(', ')}.`);
  const width = Math.max(...next.map(([command]) => command.length));
  say(`\nNext:\n${next.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`).join('\n')}`);
}

function summary({ sources }: StarterFile, fromTables: boolean): string {
  if (!fromTables) return 'no database was looked at, as neither --database nor DATABASE_URL names one';
  return `${sources} ${sources === 1 ? 'source' : 'sources'}, 1 observer, 1 destination`;
}

function nextSteps(file: string): (readonly [command: string, what: string])[] {
  const isDefault = resolve(file) === resolve(defaultConfigFile);
  const named = /^[\w./-]+$/.test(file) ? file : `'${file.replaceAll("'", "'\\''")}'`;
  return [
    [`pg-observers validate${isDefault ? '' : ` ${named}`} --database`, 'check the file, and its tables'],
    [`pg-observers receiver --port ${localPort}`, 'see what is delivered, in another terminal'],
    [
      `pg-observers run${isDefault ? '' : ` --config ${named}`}`,
      'install the triggers (`plan` shows the SQL), observe and deliver',
    ],
  ];
}
