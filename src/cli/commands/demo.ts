import { Command, Option } from 'commander';
import type { Demo } from '../../demo/demo.ts';
import { jsonOption, positiveInteger, rate } from '../options.ts';

interface Options {
  readonly database?: string;
  readonly changes?: number;
  readonly exit?: true;
  readonly rate?: { readonly count: number; readonly perMs: number };
  readonly json?: true;
}

const changesWhenExiting = 50;
/** npm passes on a Ctrl-C that the terminal has sent us already: two signals this close are one. Milliseconds. */
const sameKeystrokeMs = 500;

export function demoCommand(): Command {
  return new Command('demo')
    .description('The whole thing on an embedded PostgreSQL with local receivers')
    .addOption(new Option('-d, --database <url>', 'an empty database to use instead; the tables it creates there stay'))
    .option('--changes <number>', 'make so many changes (default: go on until stopped)', positiveInteger)
    .option('--exit', `end when they are made and everything has arrived (default: ${changesWhenExiting} changes)`)
    .option('--rate <rate>', 'changes: 5/s, 120/m, …', rate)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Its last line: demo: E events, D deliveries, S delivered, X dead-lettered, R replayed, 0 lost
(S with those that arrived by replay). Exit status 1 when anything was lost.`,
    )
    .action(demo);
}

async function demo(options: Options): Promise<void> {
  const stop = new AbortController();
  let started: Demo | null = null;
  // Before the import, which takes a moment: a Ctrl-C meanwhile is one like any other.
  onSignals(
    () => stop.abort(),
    async () => started?.abandon(),
  );
  const { Demo } = await import('../../demo/demo.ts');
  started = new Demo({
    database: options.database ?? null,
    changes: options.changes ?? (options.exit ? changesWhenExiting : null),
    exit: options.exit ?? false,
    rate: options.rate === undefined ? null : (options.rate.count / options.rate.perMs) * 1_000,
    json: options.json ?? false,
    output: process.stdout,
    stop: stop.signal,
  });
  process.exitCode = await started.run();
}

/** The first signal stops, a second one abandons and ends the process at once. */
function onSignals(stop: () => void, abandon: () => Promise<void>): void {
  let askedAt: number | null = null;
  const onSignal = () => {
    if (askedAt === null) {
      askedAt = performance.now();
      stop();
    } else if (performance.now() - askedAt > sameKeystrokeMs) {
      const quit = () => process.exit(130);
      abandon().then(quit, quit);
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  // `pg-observers demo | head`: the program's own listener would end the process and leave the server's directory.
  process.stdout.removeAllListeners('error').on('error', stop);
}
