import { Argument, Command } from 'commander';
import { completionNodes, completionScript, type Shell, shells } from '../completion.ts';

/** @param program whose commands it completes; read when it is asked for, with all of them */
export function completionCommand(program: Command): Command {
  return new Command('completion')
    .description('Prints a script that completes commands, options and their choices in a shell')
    .addArgument(new Argument('<shell>', 'the shell that reads it').choices(shells))
    .action((shell: Shell) => {
      process.stdout.write(completionScript(shell, completionNodes(program)));
    });
}
