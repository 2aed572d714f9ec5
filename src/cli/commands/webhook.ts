import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { keyFingerprint } from '../../actions/webhook/keys.ts';
import { type Verdict, type VerifyingKey, verifyingKey, verifyMessage } from '../../actions/webhook/verification.ts';
import { UserError } from '../../domain/errors.ts';
import { duration, jsonOption } from '../options.ts';
import { parseHeaders, splitRequest } from './http-message.ts';

export function webhookCommand(): Command {
  return new Command('webhook').description('Webhooks as a receiver sees them').addCommand(verifyCommand());
}

interface VerifyOptions {
  readonly secret?: readonly string[];
  readonly publicKey?: readonly string[];
  readonly headers: string;
  readonly body?: string;
  readonly tolerance?: number;
  readonly json?: true;
}

const collect = (value: string, before: readonly string[] = []) => [...before, value];

function verifyCommand(): Command {
  return new Command('verify')
    .description('Checks the signature of a request that was received, and says why it does not fit')
    .option('--secret <where>', 'key whsec_…: env:NAME, file:PATH or - for stdin; may be repeated', collect)
    .option('--public-key <key>', 'key whpk_…, or env:NAME, file:PATH, -; may be repeated', collect)
    .requiredOption('--headers <file>', '`name: value` lines or a JSON object, or a whole request; - for stdin')
    .option('--body <file>', 'the body, byte for byte; - for stdin. Default: what follows the headers')
    .option('--tolerance <duration>', 'how old or early the timestamp may be (default: 5m)', duration)
    .addOption(jsonOption())
    .addHelpText('after', '\nExit status: 0 the signature fits, 1 it does not, 2 wrong usage.')
    .action((options: VerifyOptions) => {
      const inputs = new Inputs();
      const keys = readKeys(options, inputs);
      const { headers, body } = readMessage(options, inputs);
      const toleranceSeconds = (options.tolerance ?? 300_000) / 1000;
      const candidates = keys.map(({ key }) => key);
      const verdict = verifyMessage({ headers, body }, candidates, Math.floor(Date.now() / 1000), toleranceSeconds);
      report(verdict, keys, options.json === true);
    });
}

interface NamedKey {
  readonly key: VerifyingKey;
  readonly fingerprint: string;
}

function readKeys({ secret = [], publicKey = [] }: VerifyOptions, inputs: Inputs): NamedKey[] {
  const secrets = secret.map((where) => {
    // Anybody on this machine can list the arguments of its processes.
    if (where.startsWith('wh')) throw usage('--secret takes no key: write env:NAME, file:PATH or -');
    return toKey('--secret', 'whsec_', inputs.text('--secret', where));
  });
  const publicKeys = publicKey.map((where) => {
    const text = where.startsWith('wh') ? where : inputs.text('--public-key', where);
    return toKey('--public-key', 'whpk_', text);
  });
  if (secrets.length + publicKeys.length === 0) throw usage('no key: write --secret env:NAME or --public-key whpk_…');
  return [...secrets, ...publicKeys];
}

function toKey(option: string, prefix: string, text: string): NamedKey {
  try {
    if (!text.startsWith(prefix) && !text.startsWith('whsk_')) throw new RangeError(`a key begins with ${prefix} here`);
    return { key: verifyingKey(text), fingerprint: keyFingerprint(text) };
  } catch (error) {
    throw usage(`${option}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function readMessage(options: VerifyOptions, inputs: Inputs) {
  const head = inputs.bytes('--headers', options.headers, 'file');
  if (options.body !== undefined) {
    return { headers: parseHeaders(head.toString('utf8')), body: inputs.bytes('--body', options.body, 'file') };
  }
  const request = splitRequest(head);
  if (request.body === null) throw usage('no body: write --body FILE, or put it behind the headers and an empty line');
  return { headers: parseHeaders(request.head), body: request.body };
}

/** Where keys and messages come from; stdin holds one of them. */
class Inputs {
  #stdinFor: string | null = null;

  /** A key: without the line break that ends its file. */
  text(option: string, where: string): string {
    return this.bytes(option, where, 'named').toString('utf8').trim();
  }

  /** @param kind `file`: a plain path; `named`: env:NAME or file:PATH */
  bytes(option: string, where: string, kind: 'file' | 'named'): Buffer {
    if (where === '-') return this.#stdin(option);
    if (kind === 'file') return read(option, where);
    const [, source, name = ''] = /^(env|file):(.+)$/s.exec(where) ?? [];
    if (source === 'file') return read(option, name);
    if (source !== 'env') throw usage(`${option}: write env:NAME, file:PATH or -`);
    const value = process.env[name];
    if (value === undefined || value === '') throw usage(`${option}: the environment variable ${name} is not set`);
    return Buffer.from(value);
  }

  #stdin(option: string): Buffer {
    if (this.#stdinFor !== null) throw usage(`${option}: stdin is taken by ${this.#stdinFor}`);
    this.#stdinFor = option;
    return readFileSync(0);
  }
}

function read(option: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'error';
    throw usage(`${option}: can't read ${path} (${code})`);
  }
}

function report(verdict: Verdict, keys: readonly NamedKey[], json: boolean): void {
  const fitting = verdict.valid ? (keys[verdict.key]?.fingerprint ?? null) : null;
  process.exitCode = verdict.valid ? 0 : 1;
  if (json) {
    const { valid } = verdict;
    const details = valid
      ? { key: fitting, age_seconds: verdict.ageSeconds }
      : { reason: verdict.reason, message: verdict.message };
    console.log(JSON.stringify({ valid, ...details }, null, 2));
  } else if (verdict.valid) console.log(`valid: signed by key ${fitting}, ${verdict.ageSeconds} s ago`);
  else console.log(`not valid: ${verdict.message}`);
}

function usage(message: string): UserError {
  return new UserError(message, 2);
}
