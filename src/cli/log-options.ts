/** What the commands that look at the log have in common. */

import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { ConfigError, UserError } from '../domain/errors.ts';
import type { EventFilter, EventRecord } from '../domain/event.ts';
import type { Config } from '../domain/rules.ts';
import { SourceNames } from '../domain/source-names.ts';
import { LookTooLong } from '../transport/postgres/event-log.ts';
import { type ConfigOptions, readConfig, readDatabaseUrl, sessionUrl } from './options.ts';

export interface LogOptions extends ConfigOptions {
  readonly json?: true;
}

export interface FilterOptions extends LogOptions {
  readonly source?: string;
  readonly operation?: string;
  readonly key?: string;
  readonly tenant?: string;
  /** ISO 8601. */
  readonly since?: string;
  readonly until?: string;
}

export function filtered(target: Command): Command {
  return target
    .option('--source <name>', 'of this source')
    .option('--operation <operation>', 'insert, update, delete, truncate, read, notify or emit')
    .option('--key <key>', 'of the row with this key')
    .option('--tenant <tenant>', 'of this tenant');
}

export function tooLong(error: unknown): unknown {
  if (!(error instanceof LookTooLong)) return error;
  return new UserError('The look took too long and was ended: narrow it with --since and --until.', 1, {
    cause: error,
  });
}

/** The log with the names of the file, where there is one: it keeps the messages of a topic under that. */
export async function openLog(options: FilterOptions): Promise<{
  readonly url: string;
  readonly filter: EventFilter;
  readonly named: (stored: EventRecord) => EventRecord;
}> {
  const { config, ...log } = await readNames(options);
  return { ...log, url: config === null ? await readDatabaseUrl(options) : sessionUrl(config) };
}

/** Of a broken file only the names of sources are missed when `--database` says where the log is: they stay those of the log. */
const ifSpared =
  ({ database }: FilterOptions) =>
  (error: unknown): null => {
    if (error instanceof ConfigError && database !== undefined) return null;
    throw error;
  };

/** No database is needed for these. */
export async function readNames(options: FilterOptions): Promise<{
  readonly config: Config | null;
  readonly filter: EventFilter;
  readonly named: (stored: EventRecord) => EventRecord;
}> {
  const { operation, key, tenant, since, until } = options;
  const config = existsSync(options.config) ? await readConfig(options).catch(ifSpared(options)) : null;
  const names = new SourceNames(config?.sources.values() ?? []);
  return {
    config,
    filter: { source: storedSource(options.source, config), operation, key, tenant, since, until },
    named: (stored) => names.inFile(stored),
  };
}

export function storedSource(name: string | undefined, config: Config | null): string | undefined {
  const source = name === undefined ? undefined : config?.sources.get(name);
  return source?.kind === 'topic' ? source.topic : name;
}
