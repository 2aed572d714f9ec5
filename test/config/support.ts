import { type LoadOptions, parseConfig } from '../../src/config/index.ts';
import type { Config } from '../../src/domain/rules.ts';

export const database = 'postgres://localhost/shop';

/** A sound beginning of a file, up to its rules. */
export function shop(rules: string): string {
  return `version: 1
sources:
  orders: { table: orders }
  pings: { channel: pings }
destinations:
  billing: { webhook: { url: https://billing.example.com/ } }
  mail: { email: { smtp: 'smtp://localhost', from: shop@example.com } }
  sales: { slack: { token: xoxb-1 } }
  alerts: { slack: { webhook_url: https://hooks.example.com/x } }
${rules}`;
}

export function parse(
  yaml: string,
  env: NonNullable<LoadOptions['env']> = {},
  files: Record<string, string> = {},
  parseText: typeof parseConfig = parseConfig,
): Config {
  const readFile = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error('gone'), { code: 'ENOENT' });
    return text;
  };
  return parseText(yaml, { file: 'observers.yaml', env: { DATABASE_URL: database, EMPTY: '', ...env }, readFile });
}

/** What is said about a file that must be refused, line by line. */
export function messagesOf(
  yaml: string,
  env: NonNullable<LoadOptions['env']> = {},
  parseText: typeof parseConfig = parseConfig,
): string[] {
  try {
    parse(yaml, env, {}, parseText);
  } catch (error) {
    // By name: what is built has a class of its own.
    if (error instanceof Error && error.name === 'ConfigError') return error.message.split('\n');
    throw error;
  }
  throw new Error('the file was accepted');
}
