import { readFileSync } from 'node:fs';
import { readFile as readFileAsync } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { UserError } from '../domain/errors.ts';
import type { Config } from '../domain/rules.ts';
import type { Destinations } from './actions.ts';
import { builtInDelivery, readDelivery } from './delivery.ts';
import { readDestinations } from './destinations.ts';
import { readDocument } from './document.ts';
import { type Draft, Field } from './field.ts';
import { fingerprint, withoutSecrets } from './fingerprint.ts';
import { FrozenMap } from './frozen-map.ts';
import { type ConfigInput, serialize } from './input.ts';
import { loadModules } from './modules.ts';
import { readObservers, ruleAsWritten } from './observers.ts';
import { Problems } from './problems.ts';
import { readDatabase, readDirectDatabase, readSettings } from './settings.ts';
import { readSources } from './sources.ts';
import { standIn } from './stand-ins.ts';
import { checkStructure } from './structure.ts';
import { refuseStrayTemplates } from './templates.ts';
import { rulesValidator } from './validator.ts';
import { reasonOf, resolveVariables } from './variables.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface LoadOptions {
  /** Default: the environment of the process. */
  readonly env?: Environment;
  /** Another database than the one of the file, which then need not even have its variables set. */
  readonly database?: string;
  /** Variables and files that are not there stand for something harmless: for rules that will never send anything. */
  readonly standIns?: true;
}

export interface ParseOptions extends LoadOptions {
  /** For messages. */
  readonly file: string;
  /** Reads what `${file:/path}` names. Default: from disk, relative to the configuration file. */
  readonly readFile?: (path: string) => string;
}

/**
 * Reads a configuration file.
 * @throws ConfigError with all problems of the file
 * @throws UserError when the file can't be read
 */
export async function loadConfig(file: string, options: LoadOptions = {}): Promise<Config> {
  return loadModules(parseConfig(await readText(file), { ...options, file }));
}

async function readText(file: string): Promise<string> {
  try {
    return await readFileAsync(file, 'utf8');
  } catch (error) {
    throw new UserError(`can't read ${file}: ${reasonOf(error)}  (pass --config FILE)`, 2, {
      cause: error,
      code: 'PGO-FILE',
    });
  }
}

/**
 * A configuration from YAML text.
 * @throws ConfigError with all problems of the text
 */
export function parseConfig(text: string, options: ParseOptions): Config {
  return build(text, options.file, options.file, options);
}

/**
 * A configuration from a plain object of the same shape as the file. Positions in messages are those of its JSON.
 * @throws ConfigError with all problems, `config` as file
 */
export function defineConfig(input: ConfigInput, options: LoadOptions = {}): Config {
  return build(serialize(input), 'config', null, options);
}

function build(text: string, label: string, file: string | null, options: Omit<ParseOptions, 'file'>): Config {
  const env = options.env ?? process.env;
  const readFile = options.readFile ?? ((path: string) => readFileSync(resolve(dirname(label), path), 'utf8'));
  const problems = new Problems(label);
  const document = readDocument(text, problems);
  refuseStrayTemplates(document, problems);
  const resolved = resolveVariables(
    document,
    {
      env,
      readFile,
      skip: options.database === undefined ? [] : ['/database', '/direct_database'],
      ...(options.standIns && { standIn }),
    },
    problems,
  );
  checkStructure(document, resolved, problems, rulesValidator());
  const secrets = new Set<string>();
  const config = compile(
    Field.root({ document, resolved, problems, secrets, directory: dirname(label), readFile }),
    file,
    env,
    options.database,
  );
  problems.throwIfAny();
  return config;
}

/** Every check beyond the structure. The result is good for nothing when a problem was found. */
function compile(root: Field, file: string | null, env: Environment, otherDatabase: string | undefined): Config {
  const database = readDatabase(root, env, otherDatabase);
  const directDatabase = readDirectDatabase(root, env, otherDatabase);
  const sources = readSources(root.get('sources'));
  const defaults = readDelivery(root.get('defaults'), builtInDelivery, null);
  const declared = root.get('destinations');
  const destinations: Destinations = { all: readDestinations(declared, defaults), declared, defaults };
  const observers = readObservers(root.get('observers'), sources, root.get('sources'), destinations);
  const settings = readSettings(root.get('settings'), env);
  keepFileSecrets(root.draft);
  return Object.freeze({
    file,
    database,
    directDatabase,
    sources: new FrozenMap(sources),
    destinations: new FrozenMap(destinations.all),
    observers: new FrozenMap(observers),
    settings,
    version: versionOf(root),
    secrets: Object.freeze([...root.draft.secrets]),
  });
}

/** What is kept in a file of its own is a secret wherever it is used. */
function keepFileSecrets({ resolved, secrets }: Draft): void {
  for (const { from, value } of [...resolved.substitutions.values()].flat()) if (from === 'file') secrets.add(value);
}

/** Neither settings nor secrets: instances that differ in those still run the same rules. */
function versionOf(root: Field): string {
  const observers = root
    .get('observers')
    .entries()
    .map(([name, field]) => [name, ruleAsWritten(field)]);
  return fingerprint({
    sources: root.get('sources').written,
    defaults: root.get('defaults').written,
    destinations: withoutSecrets(root.get('destinations').written),
    observers: Object.fromEntries(observers),
  });
}
