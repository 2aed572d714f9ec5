import { Command } from 'commander';

export function demoCommand(): Command {
  return new Command('demo')
    .description('The whole thing on an embedded PostgreSQL with local receivers')
    .action(() => {});
}
