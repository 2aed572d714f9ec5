import { type Argument, Command } from 'commander';
import { programVersion } from '../transport/postgres/program-version.ts';
import { completionCommand } from './commands/completion.ts';
import { examples } from './examples.ts';

/** Every command, by what somebody wants to do. The order is that of the help. Loaded when it is needed: all of them take longer than most take to run. */
const groups: Readonly<Record<string, Readonly<Record<string, () => Promise<Command>>>>> = {
  'First steps:': {
    demo: async () => (await import('./commands/demo.ts')).demoCommand(),
    init: async () => (await import('./commands/init.ts')).initCommand(),
    validate: async () => (await import('./commands/validate.ts')).validateCommand(),
    doctor: async () => (await import('./commands/doctor.ts')).doctorCommand(),
  },
  'Run:': {
    plan: async () => (await import('./commands/plan.ts')).planCommand(),
    apply: async () => (await import('./commands/apply.ts')).applyCommand(),
    run: async () => (await import('./commands/run.ts')).runCommand(),
  },
  'Look:': {
    status: async () => (await import('./commands/status.ts')).statusCommand(),
    events: async () => (await import('./commands/events.ts')).eventsCommand(),
    explain: async () => (await import('./commands/explain.ts')).explainCommand(),
    destinations: async () => (await import('./commands/destinations.ts')).destinationsCommand(),
    metrics: async () => (await import('./commands/metrics.ts')).metricsCommand(),
  },
  'Recover:': {
    dlq: async () => (await import('./commands/dlq.ts')).dlqCommand(),
    replay: async () => (await import('./commands/replay.ts')).replayCommand(),
    backfill: async () => (await import('./commands/backfill.ts')).backfillCommand(),
    checkpoint: async () => (await import('./commands/checkpoint.ts')).checkpointCommand(),
    retention: async () => (await import('./commands/retention.ts')).retentionCommand(),
  },
  'Develop rules:': {
    test: async () => (await import('./commands/test.ts')).testCommand(),
    backtest: async () => (await import('./commands/backtest.ts')).backtestCommand(),
    receiver: async () => (await import('./commands/receiver.ts')).receiverCommand(),
    keys: async () => (await import('./commands/keys.ts')).keysCommand(),
    webhook: async () => (await import('./commands/webhook.ts')).webhookCommand(),
  },
};

/**
 * The command line.
 *
 * @param words what was written; with the name of a command in front, there is no other. Help, completion, a mistake, and
 * the tests that walk them, want all commands.
 */
export async function buildProgram(words: readonly string[] = []): Promise<Command> {
  const program = new Command('pg-observers')
    .description('Turns PostgreSQL changes into webhooks, mails and Slack messages, as observers.yaml says.')
    .version(programVersion)
    .addHelpText(
      'after',
      `
pg-observers <command> --help shows options and examples of a command.

Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 not reachable.
What a code such as [PGO-NOT-APPLIED] means is in docs/errors.md.`,
    );
  const [first = ''] = words;
  const isAlone = first === '--version' || Object.values(groups).some((commands) => Object.hasOwn(commands, first));
  for (const [heading, commands] of Object.entries(groups))
    for (const [name, load] of Object.entries(commands))
      if (!isAlone || name === first) program.addCommand((await load()).helpGroup(heading));
  program.addCommand(completionCommand(program).helpGroup('Other:'));
  program.commandsGroup('Other:').helpCommand('help [command]', 'Shows what a command does');
  configure(program);
  return program;
}

/** What commander does not hand down to commands that were built on their own. */
function configure(command: Command): void {
  command
    .exitOverride()
    .showHelpAfterError(`(see ${commandLine(command)} --help)`)
    // With `[options]` behind every name and the aliases before it, nothing is left of 80 columns for what they do.
    .configureHelp({ subcommandTerm: (sub) => [sub.name(), ...sub.registeredArguments.map(argumentTerm)].join(' ') });
  const own = examples[commandLine(command)];
  if (own !== undefined) command.addHelpText('after', `\nExamples:\n${own.map((line) => `  ${line}`).join('\n')}`);
  for (const sub of command.commands) configure(sub);
}

export function commandLine(command: Command): string {
  return command.parent === null ? command.name() : `${commandLine(command.parent)} ${command.name()}`;
}

function argumentTerm(argument: Argument): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
}
