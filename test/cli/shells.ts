import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, onTestFinished } from 'vitest';
import { completionNodes, completionScript, type Shell } from '../../src/cli/completion.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { startProcess } from '../support/processes.ts';

const nodes = completionNodes(await buildProgram());

/** zsh keeps there what it found out about its own completions, which takes it half a second. */
const home = mkdtempSync(join(tmpdir(), 'completion-home-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** Where nothing lies that could be offered as a file. */
interface Place {
  readonly folder: string;
  readonly script: string;
  readonly empty: string;
}

/** A shell, and for zsh also the other way to install it: in $fpath, where the first Tab reads it. */
export const ways = { bash: 'bash', zsh: 'zsh', 'zsh by fpath': 'zsh', fish: 'fish' } as const;
export type Way = keyof typeof ways;

/** What the shell itself would offer behind these words, the last of which is being written; sorted. */
export async function offered(way: Way, ...words: string[]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'completion-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  // The name under which zsh finds it in $fpath.
  const place = { folder, script: join(folder, '_pg-observers'), empty: join(folder, 'empty') };
  await mkdir(place.empty);
  await writeFile(place.script, completionScript(ways[way], nodes));
  const [program, ...args] = await asking[way](place, ['pg-observers', ...words]);
  const end = await startProcess(program, args, { cwd: place.empty, env: { ZDOTDIR: home } }).exited;
  expect(end).toMatchObject({ status: 0, stderr: '' });
  return answers[ways[way]](end.stdout).sort();
}

type Asking = (place: Place, words: readonly string[]) => Promise<[program: string, ...args: string[]]>;

const quoted = (text: string): string => `'${text}'`;

const asking: Readonly<Record<Way, Asking>> = {
  bash: async ({ script }, words) => [
    'bash',
    '--norc',
    '-c',
    `set -u; source '${script}'; COMP_WORDS=(${words.map(quoted).join(' ')}); COMP_CWORD=${words.length - 1}; _pg_observers; printf '%s\\n' \${COMPREPLY[@]+"\${COMPREPLY[@]}"}`,
  ],
  fish: async ({ script }, words) => [
    'fish',
    '--no-config',
    '-c',
    `source '${script}'; complete -C '${words.join(' ')}'`,
  ],
  zsh: (place, words) => pressTab(place, words, `source ${place.script}`),
  'zsh by fpath': (place, words) =>
    pressTab(place, words, `fpath=(${place.folder} $fpath); autoload -Uz compinit; compinit -u`),
};

/** A zsh in a terminal of its own: only there it completes. What it would offer goes through `compadd`, which we make talk. */
async function pressTab({ folder }: Place, words: readonly string[], load: string): Promise<[string, ...string[]]> {
  const inner = join(folder, 'inner.zsh');
  const outer = join(folder, 'outer.zsh');
  await writeFile(
    inner,
    `PROMPT=
${load}
compadd() {
  local -a hits
  [[ " $*" == *' -'[OAD]' '* ]] || { builtin compadd -O hits "$@"; (( $#hits )) && print -rl -- @offers:$^hits }
  builtin compadd "$@"
}
ask() { zle complete-word; print -r -- @end }
zle -N ask
bindkey '^I' ask
print -r -- @ready
`,
  );
  await writeFile(
    outer,
    `zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner 'source ${inner}'
zpty -r inner heard '*@ready*'
zpty -w -n inner ${quoted(words.join(' '))}$'\\t'
zpty -r inner heard '*@end*'
print -r -- "$heard"
`,
  );
  return ['zsh', '-f', outer];
}

const lines = (text: string): string[] => text.split(/\r?\n/).filter((line) => line !== '');

const answers: Readonly<Record<Shell, (stdout: string) => string[]>> = {
  bash: lines,
  // Word, tab, description.
  fish: (stdout) => lines(stdout).map((line) => line.split('\t')[0] ?? ''),
  zsh: (stdout) => [...stdout.matchAll(/@offers:(\S+)/g)].map(([, word]) => word ?? ''),
};
