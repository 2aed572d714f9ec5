import { type Argument, Command } from 'commander';
import { programVersion } from '../transport/postgres/connection.ts';
import { applyCommand } from './commands/apply.ts';
import { backfillCommand } from './commands/backfill.ts';
import { backtestCommand } from './commands/backtest.ts';
import { checkpointCommand } from './commands/checkpoint.ts';
import { completionCommand } from './commands/completion.ts';
import { demoCommand } from './commands/demo.ts';
import { destinationsCommand } from './commands/destinations.ts';
import { dlqCommand } from './commands/dlq.ts';
import { doctorCommand } from './commands/doctor.ts';
import { eventsCommand } from './commands/events.ts';
import { explainCommand } from './commands/explain.ts';
import { initCommand } from './commands/init.ts';
import { keysCommand } from './commands/keys.ts';
import { metricsCommand } from './commands/metrics.ts';
import { planCommand } from './commands/plan.ts';
import { receiverCommand } from './commands/receiver.ts';
import { replayCommand } from './commands/replay.ts';
import { retentionCommand } from './commands/retention.ts';
import { runCommand } from './commands/run.ts';
import { statusCommand } from './commands/status.ts';
import { testCommand } from './commands/test.ts';
import { validateCommand } from './commands/validate.ts';
import { webhookCommand } from './commands/webhook.ts';
import { examples } from './examples.ts';

/** Every command, by what somebody wants to do. The order is that of the help. */
const groups: readonly (readonly [heading: string, commands: readonly (() => Command)[]])[] = [
  ['First steps:', [demoCommand, initCommand, validateCommand, doctorCommand]],
  ['Run:', [planCommand, applyCommand, runCommand]],
  ['Look:', [statusCommand, eventsCommand, explainCommand, destinationsCommand, metricsCommand]],
  ['Recover:', [dlqCommand, replayCommand, backfillCommand, checkpointCommand, retentionCommand]],
  ['Develop rules:', [testCommand, backtestCommand, receiverCommand, keysCommand, webhookCommand]],
];

/** The whole command line, for running, for completion, and for the tests that walk it. */
export function buildProgram(): Command {
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
  for (const [heading, commands] of groups) for (const make of commands) program.addCommand(make().helpGroup(heading));
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
