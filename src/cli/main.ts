#!/usr/bin/env node
import { type Argument, Command, CommanderError } from 'commander';
import { ConfigError, UserError } from '../domain/errors.ts';
import { describeError, programVersion } from '../transport/postgres/connection.ts';
import { applyCommand } from './commands/apply.ts';
import { backfillCommand } from './commands/backfill.ts';
import { backtestCommand } from './commands/backtest.ts';
import { checkpointCommand } from './commands/checkpoint.ts';
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

// The reader of our output may leave early (`pg-observers dlq list | head`): that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const program = new Command('pg-observers')
  .description('Turns PostgreSQL changes into webhooks, mails and Slack messages, as observers.yaml says.')
  .version(programVersion)
  .addHelpText(
    'after',
    `
First steps:
  pg-observers demo              see it work, without configuration
  pg-observers validate          check observers.yaml
  pg-observers plan              the exact SQL that apply would run
  pg-observers run               observe, until stopped

Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 not reachable.`,
  );
for (const command of [
  initCommand(),
  validateCommand(),
  planCommand(),
  applyCommand(),
  runCommand(),
  statusCommand(),
  doctorCommand(),
  testCommand(),
  backtestCommand(),
  eventsCommand(),
  explainCommand(),
  dlqCommand(),
  replayCommand(),
  backfillCommand(),
  destinationsCommand(),
  checkpointCommand(),
  retentionCommand(),
  metricsCommand(),
  keysCommand(),
  webhookCommand(),
  receiverCommand(),
  demoCommand(),
]) {
  program.addCommand(command);
}
configure(program);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** What commander does not hand down to commands that were built on their own. */
function configure(command: Command): void {
  command
    .exitOverride()
    .showHelpAfterError(`(see ${commandLine(command)} --help)`)
    // With `[options]` behind every name and the aliases before it, nothing is left of 80 columns for what they do.
    .configureHelp({ subcommandTerm: (sub) => [sub.name(), ...sub.registeredArguments.map(argumentTerm)].join(' ') });
  for (const sub of command.commands) configure(sub);
}

function commandLine(command: Command): string {
  return command.parent === null ? command.name() : `${commandLine(command.parent)} ${command.name()}`;
}

function argumentTerm(argument: Argument): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
}

/** What went wrong, on stderr, and the exit status for it. Only a bug shows its stack. */
function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Help and version are asked for; commander has printed everything already.
    return error.exitCode === 0 ? 0 : 2;
  }
  if (error instanceof UserError) {
    console.error(coded(error));
    return error.exitStatus;
  }
  console.error(`pg-observers failed unexpectedly: ${describeError(error)}  [PGO-BUG]`);
  if (error instanceof Error) console.error(error.stack);
  return 1;
}

/** With its code, by which docs/errors.md says more. Problems of a file stay lines that editors can read; `--json` has the code. */
function coded(error: UserError): string {
  return error instanceof ConfigError ? error.message : `${error.message}  [${error.code}]`;
}
