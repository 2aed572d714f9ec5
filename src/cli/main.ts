#!/usr/bin/env node
import { CommanderError } from 'commander';
import { ConfigError, UserError } from '../domain/errors.ts';
import { describeError } from '../transport/postgres/failures.ts';
import { buildProgram } from './program.ts';

// The reader of our output may leave early (`pg-observers dlq list | head`): that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await (await buildProgram(process.argv.slice(2))).parseAsync();
} catch (error) {
  process.exitCode = report(error);
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
