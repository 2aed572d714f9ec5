// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of observers.yaml here
import type { GeneratedKey } from '../../actions/webhook/keys.ts';
import type { SigningKeys } from '../../config/signing-keys.ts';

export interface RotationStep {
  readonly title: string;
  /** To type or to paste. */
  readonly lines: readonly string[];
}

/**
 * How to change a key without a moment in which a receiver refuses. The new key signs first, beside the old one; only then
 * does the receiver change; only then does the old one go. The file is not edited here: what it holds are names of
 * variables, and where those get their values only the people who run it know.
 */
export function rotationSteps(
  file: string,
  destination: string,
  { keys, line }: SigningKeys,
  key: GeneratedKey,
): readonly RotationStep[] {
  const written = keys.map(({ variable }) => variable ?? 'THE KEY THAT STANDS THERE');
  const added = nextVariable(keys[0]?.variable ?? null, destination);
  const receives = key.publicKey === null ? 'the new key' : 'the public key (whpk_…), never the secret';
  const place = `${file}, line ${line}`;
  if (keys.length === 0) {
    return [
      { title: `Put the key into ${placeOf(added)}.`, lines: [] },
      { title: `Give the receiver ${receives}. It must not demand a signature yet.`, lines: [] },
      { title: `Name the key in the destination (${place}) and ${reloading(added)}.`, lines: [secretLine([added])] },
      { title: 'Let the receiver demand a signature.', lines: [] },
    ];
  }
  const under =
    keys.length > 1 ? ' Several keys are in use already: finish that rotation first, unless it is this one.' : '';
  return [
    { title: `Put the new key into ${placeOf(added)}; the old one stays where it is.${under}`, lines: [] },
    {
      title: `List it first (${place}) and ${reloading(added)}. From then on requests carry a signature by each key.`,
      lines: [secretLine([added, ...written])],
    },
    {
      title: `Give the receiver ${receives}, in place of the old one. Check a request that it got:`,
      lines: [
        `pg-observers webhook verify ${key.publicKey === null ? '--secret env:NEW_KEY' : `--public-key ${key.publicKey}`} --headers HEADERS --body BODY`,
      ],
    },
    {
      title: 'When the receiver uses the new key, remove the old one, reload again, and delete it where it is kept.',
      lines: [secretLine([added])],
    },
  ];
}

function secretLine(entries: readonly string[]): string {
  const [only] = entries;
  return entries.length === 1 ? `secret: ${only}` : `secret: [${entries.map((entry) => `"${entry}"`).join(', ')}]`;
}

/** `${NAME}` → `${NAME_2}` → `${NAME_3}`; a file beside the file. */
function nextVariable(variable: string | null, destination: string): string {
  const path = /^\$\{file:(.+)\}$/.exec(variable ?? '')?.[1];
  if (path !== undefined) return `\${file:${counted(path, '-')}}`;
  const name = /^\$\{([A-Za-z0-9_]+)/.exec(variable ?? '')?.[1];
  if (name !== undefined) return `\${${counted(name, '_')}}`;
  return `\${${destination.toUpperCase().replaceAll(/[^A-Z0-9]+/g, '_')}_WEBHOOK_SECRET}`;
}

function counted(name: string, separator: string): string {
  const [, stem = name, count = '1'] = new RegExp(`^(.+)${separator}(\\d{1,4})$`).exec(name) ?? [];
  return `${stem}${separator}${Number(count) + 1}`;
}

function placeOf(variable: string): string {
  const path = /^\$\{file:(.+)\}$/.exec(variable)?.[1];
  return path === undefined ? `the environment variable ${variable.slice(2, -1)}` : `the file ${path}`;
}

/** The environment of a running process stays as it was at its start. */
function reloading(variable: string): string {
  return variable.startsWith('${file:') ? 'reload (kill -HUP)' : 'restart, for a reload does not see new variables';
}
