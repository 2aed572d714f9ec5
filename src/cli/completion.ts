import type { Command, Option } from 'commander';

/*
 * Shell completion, written out from the commands themselves: a script that asks the program at each Tab would start Node every time. What
 * depends on the rules (names of observers and destinations) is therefore not completed.
 */

export interface CompletionNode {
  /** Behind the program's name; empty for the program itself. */
  readonly path: readonly string[];
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly CompletionOption[];
  /** What its first argument may be; empty: anything. */
  readonly choices: readonly string[];
}

export interface CompletionOption {
  readonly flags: readonly string[];
  readonly description: string;
  /** A word follows. */
  readonly takesValue: boolean;
  readonly choices: readonly string[];
}

export function completionNodes(command: Command, path: readonly string[] = []): CompletionNode[] {
  const commands = command.commands.flatMap((sub) =>
    [sub.name(), ...sub.aliases()].map((name) => ({ name, description: sub.description() })),
  );
  const node = {
    path,
    commands,
    options: [...command.options.filter(({ hidden }) => !hidden).map(optionOf), helpOption],
    choices: command.registeredArguments[0]?.argChoices ?? [],
  };
  const below = command.commands.flatMap((sub) =>
    [sub.name(), ...sub.aliases()].flatMap((name) => completionNodes(sub, [...path, name])),
  );
  return [node, ...below];
}

const helpOption: CompletionOption = {
  flags: ['-h', '--help'],
  description: 'show help',
  takesValue: false,
  choices: [],
};

function optionOf({ short, long, description, required, argChoices }: Option): CompletionOption {
  return {
    flags: [short, long].filter((flag) => flag !== undefined),
    description,
    // An optional value is not waited for.
    takesValue: required,
    choices: argChoices ?? [],
  };
}

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

export function completionScript(shell: Shell, nodes: readonly CompletionNode[]): string {
  if (shell === 'fish') return fish(nodes);
  const script = `${bash(nodes)}complete -o default -F _pg_observers pg-observers\n`;
  return shell === 'bash' ? script : `${zshBefore}${script}${zshAfter}`;
}

/** For `source` in a .zshrc that has no compinit yet, and for a file in $fpath. */
const zshBefore = `#compdef pg-observers
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
autoload -U +X bashcompinit && bashcompinit
`;

/** A file in $fpath is read when Tab is pressed for the first time, and that press wants an answer, too. */
const zshAfter = `if [[ "\${funcstack[1]}" == _pg-observers ]]; then _bash_complete -o default -F _pg_observers; fi
`;

const words = (list: readonly string[]): string => list.join(' ');

/** bash 3.2 will do, which macOS has; zsh runs it by bashcompinit. */
function bash(nodes: readonly CompletionNode[]): string {
  const paths = nodes.filter(({ path }) => path.length > 0).map(({ path }) => `'${words(path)}'`);
  const cases = nodes.map((node) => {
    const values = node.options.filter(({ takesValue }) => takesValue).map(valueCase);
    return `    '${words(node.path)}')
      case "$prev" in
${values.join('\n')}${values.length > 0 ? '\n' : ''}      esac
      words='${words([...node.commands.map(({ name }) => name), ...node.choices])}'
      options='${words(node.options.flatMap(({ flags }) => flags))}' ;;`;
  });
  return `# pg-observers: made by \`pg-observers completion\`
_pg_observers() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" path='' words='' options='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${path:+$path }\${COMP_WORDS[i]}" in
      ${paths.join('|')}) path="\${path:+$path }\${COMP_WORDS[i]}" ;;
    esac
  done
  COMPREPLY=()
  case "$path" in
${cases.join('\n')}
  esac
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$cur")) ;;
    *) [ -n "$words" ] && COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
  esac
  return 0
}
`;
}

/** Without choices the shell offers files, by `-o default`. */
function valueCase({ flags, choices }: CompletionOption): string {
  const answer = choices.length === 0 ? '' : `COMPREPLY=($(compgen -W '${words(choices)}' -- "$cur")); `;
  return `        ${flags.join('|')}) ${answer}return 0 ;;`;
}

function fish(nodes: readonly CompletionNode[]): string {
  const lines = nodes.flatMap(({ path, commands, options, choices }) => {
    const where = `-n '__pg_observers_at ${words(path)}'`;
    return [
      ...commands.map(
        ({ name, description }) => `complete -c pg-observers -f ${where} -a ${name} -d ${quoted(description)}`,
      ),
      ...choices.map((choice) => `complete -c pg-observers -f ${where} -a ${choice}`),
      ...options.map((option) => `complete -c pg-observers ${where} ${fishOption(option)}`),
    ];
  });
  const known = nodes.filter(({ path }) => path.length > 0).map(({ path }) => quoted(words(path)));
  return `# pg-observers: made by \`pg-observers completion\`
function __pg_observers_at
  set -l path
  for word in (commandline -opc)[2..-1]
    contains -- "$path $word" ${known.map((path) => `${path.replace("'", "' ")}`).join(' ')}; and set path "$path $word"
  end
  test (string trim -- "$path") = (string join ' ' -- $argv | string collect --allow-empty)
end
${lines.join('\n')}
`;
}

function fishOption({ flags, description, takesValue, choices }: CompletionOption): string {
  const parts = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
  const value = takesValue ? (choices.length > 0 ? ` -x -a '${words(choices)}'` : ' -r') : '';
  return `${parts.join(' ')}${value} -d ${quoted(description)}`;
}

const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
