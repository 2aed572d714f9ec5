import { Command, Option } from 'commander';
import { type GeneratedKey, generateKey, type KeyType, keyFingerprint, keyTypeOf } from '../../actions/webhook/keys.ts';
import type { SigningKeys } from '../../config/signing-keys.ts';
import { configOption, jsonOption } from '../options.ts';
import { type RotationStep, rotationSteps } from './key-rotation.ts';

const typeOption = (meaning: string) =>
  new Option('--type <type>', `v1: HMAC-SHA256, both sides have the same key; v1a: Ed25519${meaning}`).choices([
    'v1',
    'v1a',
  ]);

export function keysCommand(): Command {
  return new Command('keys')
    .description('Signing keys of webhooks')
    .addCommand(generateCommand())
    .addCommand(rotateCommand());
}

interface GenerateOptions {
  readonly type: KeyType;
  readonly json?: true;
}

function generateCommand(): Command {
  return new Command('generate')
    .description('Makes a signing key and prints it')
    .addOption(typeOption(', the receiver gets the public half').default('v1'))
    .addOption(jsonOption())
    .action(({ type, json }: GenerateOptions) => {
      const key = generateKey(type);
      console.log(json ? JSON.stringify(inJson(key), null, 2) : inWords(key).join('\n'));
    });
}

interface RotateOptions {
  readonly config: string;
  readonly type?: KeyType;
  readonly json?: true;
}

function rotateCommand(): Command {
  return new Command('rotate')
    .description('Makes a new signing key for a destination and says where to put it, in which order; changes nothing')
    .argument('<destination>', 'a webhook destination of the file')
    .addOption(configOption())
    .addOption(typeOption('. Default: that of the newest key'))
    .addOption(jsonOption())
    .action(async (destination: string, { config, type, json }: RotateOptions) => {
      const { readSigningKeys } = await import('../../config/signing-keys.ts');
      const signing = readSigningKeys(config, destination, process.env);
      const [newest] = signing.keys;
      const key = generateKey(type ?? (newest?.value ? keyTypeOf(newest.value) : 'v1'));
      const steps = rotationSteps(config, destination, signing, key);
      console.log(
        json
          ? JSON.stringify({ destination, keys: described(signing), new_key: inJson(key), steps }, null, 2)
          : [...presentKeys(destination, signing), '', ...newKey(key), '', ...numbered(steps)].join('\n'),
      );
    });
}

function inJson({ type, secret, publicKey }: GeneratedKey) {
  return { type, secret, public_key: publicKey, fingerprint: keyFingerprint(secret) };
}

function inWords({ secret, publicKey }: GeneratedKey): string[] {
  if (publicKey === null) return [secret];
  return [`secret      ${secret}`, `public key  ${publicKey}`];
}

function newKey(key: GeneratedKey): string[] {
  const head = `A new key, fingerprint ${keyFingerprint(key.secret)}. It is kept nowhere and shown this once:`;
  return [head, ...inWords(key).map((line) => `  ${line}`)];
}

function described({ keys }: SigningKeys) {
  return keys.map(({ variable, value }) => ({
    type: value === null ? null : keyTypeOf(value),
    fingerprint: value === null ? null : keyFingerprint(value),
    written: variable,
  }));
}

function presentKeys(destination: string, signing: SigningKeys): string[] {
  const keys = described(signing);
  if (keys.length === 0) return [`Destination ${destination} does not sign yet.`];
  const count = keys.length === 1 ? '1 key' : `${keys.length} keys, the newest first`;
  return [
    `Destination ${destination} signs with ${count}:`,
    ...keys.map(({ type, fingerprint, written }) => {
      const key = fingerprint === null ? 'not set here' : `${type} ${fingerprint}`;
      return `  ${key.padEnd(14)}${written ?? 'written into the file'}`;
    }),
  ];
}

function numbered(steps: readonly RotationStep[]): string[] {
  return steps.flatMap(({ title, lines }, i) => [`${i + 1}. ${title}`, ...lines.map((line) => `     ${line}`)]);
}
