import { readFileSync, writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { keyFingerprint } from '../../actions/webhook/keys.ts';
import { type VerifyingKey, verifyingKey, verifyMessage } from '../../actions/webhook/verification.ts';
import { UserError } from '../../domain/errors.ts';
import { type Arrival, type BehavingReceiver, startBehavingReceiver } from '../../receivers/behaving-receiver.ts';
import { type Behaviour, behaviourWords, combine, friendly } from '../../receivers/behaviour.ts';
import { type TlsMode, tlsMaterial, tlsModes } from '../../receivers/certificate.ts';
import { jsonOption, positiveInteger } from '../options.ts';
import { type OtherOptions, startOthers } from '../other-receivers.ts';
import { requestJson, requestText, type SignatureCheck } from '../received-request.ts';
import { seededRandom } from '../seeded-random.ts';

interface Options extends OtherOptions {
  readonly port: number;
  readonly secretEnv?: readonly string[];
  readonly secretFile?: readonly string[];
  readonly tls?: TlsMode;
  readonly writeCa?: string;
  readonly seed?: number;
  readonly count?: number;
  readonly json?: true;
}

const collect = (value: string, before: readonly string[] = []) => [...before, value];

export function receiverCommand(): Command {
  const command = new Command('receiver')
    .description('A local receiver that shows each request, and misbehaves when asked to')
    .option('-p, --port <port>', 'where it listens; 0: any free port', port, 0)
    .option('--host <address>', 'on which address', '127.0.0.1')
    .option('--secret-env <name>', 'checks signatures with the key of this variable; may be repeated', collect)
    .option('--secret-file <file>', 'the same with the key of this file', collect)
    .option('--count <n>', 'ends with status 0 when so many requests have come and are answered', positiveInteger);
  const words = Object.entries(behaviourWords).map(([name, { value, help, read }]) => {
    const option = new Option(`--${name}${value === null ? '' : ` ${value}`}`, help);
    if (value !== null) option.argParser(name === 'body' ? (text) => read(textOf(text)) : parsing(read));
    command.addOption(option);
    return { option, read };
  });
  return command
    .option('--seed <n>', 'the dice of --fail-rate fall as they did with this number', wholeNumber)
    .addOption(new Option('--tls <certificate>', 'serves HTTPS, with this certificate').choices(tlsModes))
    .option('--write-ca <file>', 'where the authority goes that signed it, for `tls.ca`')
    .option('--smtp', 'a mail server, too, that delivers nowhere')
    .option('--smtp-reply <code>', 'which refuses every mail with this code: 451', replyCode)
    .option('--slack', 'as much of Slack as a sender sees, too')
    .option('--slack-error <code>', 'which refuses every message with this code: channel_not_found')
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action(async (options: Options, self: Command) => {
      const values = self.opts<Record<string, unknown>>();
      const behaviour = words.reduce((sum: Behaviour, { option, read }) => {
        const value = values[option.attributeName()];
        if (value === undefined) return sum;
        return combine(sum, (value === true ? read('') : (value as Partial<Behaviour>)) ?? {});
      }, friendly);
      await serve(options, behaviour);
    });
}

const examples = `
Examples:
  pg-observers receiver --port 8080 --secret-env BILLING_WEBHOOK_SECRET
  pg-observers receiver --status 503,503,200           the third attempt succeeds
  pg-observers receiver --hang-after-headers
  pg-observers receiver --status 429 --retry-after 30
  pg-observers receiver --fail-rate 0.3 --seed 7 --delay 200ms
  pg-observers receiver --tls expired --write-ca ca.pem
  pg-observers receiver --smtp-reply 451 --slack
  pg-observers receiver --count 3 --json               ends when three have come

A path asks for the same, in the same words, so that one receiver has many behaviours:
  http://127.0.0.1:8080/status/503,503,200
  http://127.0.0.1:8080/delay/2s/hang-after-headers
  http://127.0.0.1:8080/status/429/retry-after/30/anything`;

async function serve(options: Options, behaviour: Behaviour): Promise<void> {
  const keys = readKeys(options);
  const tls = options.tls === undefined ? null : tlsMaterial(options.tls, options.host);
  if (options.writeCa !== undefined) writeCa(options.writeCa, tls?.ca ?? null);
  const say = (text: string, json: object) => console.log(options.json ? JSON.stringify(json) : text);
  const receiver = await startBehavingReceiver({
    port: options.port,
    host: options.host,
    behaviour,
    capacity: 100,
    random: seededRandom(options.seed ?? Math.floor(Math.random() * 2 ** 32)),
    ...(tls !== null && { tls }),
    onTlsFault: (error) => {
      const code = 'code' in error ? String(error.code) : error.message;
      say(`A TLS handshake failed: ${code}`, { tls_fault: code });
    },
  }).catch((error: unknown) => {
    throw cannotListen(error, options);
  });
  const others = await startOthers(options, say);
  say(`listening at ${receiver.url}`, { listening: receiver.url });
  receiver.received.onArrival((arrival) => {
    const signature = keys.length === 0 ? null : checkSignature(arrival, keys);
    console.log(options.json ? requestJson(arrival, signature) : requestText(arrival, signature));
  });
  const isComplete = await untilStopped(receiver, options.count ?? Number.POSITIVE_INFINITY);
  await Promise.all([receiver, ...others].map((one) => one.close()));
  if (!isComplete && options.count !== undefined) process.exitCode = 1;
}

/** @returns whether `count` arrived; else somebody ended it */
function untilStopped({ received }: BehavingReceiver, count: number): Promise<boolean> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(false));
    const answered: Promise<void>[] = [];
    const stop = received.onArrival(({ over }) => {
      if (Number.isFinite(count)) answered.push(over);
      if (answered.length < count) return;
      stop();
      void Promise.all(answered).then(() => resolve(true));
    });
  });
}

interface NamedKey {
  readonly key: VerifyingKey;
  readonly fingerprint: string;
}

function checkSignature({ headers, body }: Arrival, keys: readonly NamedKey[]): SignatureCheck {
  const plain = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
  const candidates = keys.map(({ key }) => key);
  const verdict = verifyMessage({ headers: plain, body }, candidates, Math.floor(Date.now() / 1000), 300);
  return { verdict, fingerprint: verdict.valid ? (keys[verdict.key]?.fingerprint ?? null) : null };
}

function readKeys({ secretEnv = [], secretFile = [] }: Options): NamedKey[] {
  const fromEnv = secretEnv.map((name) => {
    const value = process.env[name];
    if (value === undefined || value === '') throw usage(`--secret-env: the environment variable ${name} is not set`);
    return toKey(`--secret-env ${name}`, value);
  });
  const fromFile = secretFile.map((file) => toKey(`--secret-file ${file}`, read('--secret-file', file)));
  return [...fromEnv, ...fromFile];
}

function toKey(option: string, written: string): NamedKey {
  const text = written.trim();
  try {
    return { key: verifyingKey(text), fingerprint: keyFingerprint(text) };
  } catch (error) {
    throw usage(`${option}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function writeCa(file: string, ca: string | null): void {
  if (ca === null) throw usage('--write-ca: there is no authority without --tls');
  try {
    writeFileSync(file, ca);
  } catch (error) {
    throw usage(`--write-ca: can't write ${file} (${codeOf(error)})`);
  }
}

/** `@FILE`, or the text itself. */
function textOf(text: string): string {
  return text.startsWith('@') ? read('--body', text.slice(1)) : text;
}

function read(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw usage(`${option}: can't read ${file} (${codeOf(error)})`);
  }
}

function parsing(parse: (text: string) => Partial<Behaviour> | null) {
  return (text: string): Partial<Behaviour> => {
    const read = parse(text);
    if (read === null) throw new InvalidArgumentError('See the examples in --help.');
    return read;
  };
}

function port(text: string): number {
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text) || value > 65_535) throw new InvalidArgumentError('Write a number from 0 to 65535.');
  return value;
}

function replyCode(text: string): number {
  if (!/^[45]\d\d$/.test(text)) throw new InvalidArgumentError('Write a code from 400 to 599.');
  return Number(text);
}

function wholeNumber(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('Write a whole number.');
  return Number(text);
}

function cannotListen(error: unknown, { host, port: wanted }: Options): unknown {
  const code = codeOf(error);
  if (!['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL'].includes(code)) return error;
  return new UserError(`can't listen at ${host}:${wanted} (${code}): choose another --port, or 0 for any`, 1);
}

const codeOf = (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : 'error');

function usage(message: string): UserError {
  return new UserError(message, 2);
}
