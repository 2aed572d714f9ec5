import type { Command } from 'commander';
import type pg from 'pg';
import type { Config, Observer } from '../../domain/rules.ts';
import {
  type PastRange,
  type PastSpan,
  readPastEvents,
  readQueuedAndDead,
  readSpan,
} from '../../transport/postgres/past-events.ts';
import type { Backtested } from '../backtest-report.ts';
import { type ConfigOptions, command, moment, readConfig, sessionUrl, withDatabase } from '../options.ts';
import { Progress } from '../progress.ts';
import { requireObserver } from './explain.ts';

interface Options extends ConfigOptions {
  /** ISO 8601. */
  readonly since: string;
  readonly until?: string;
  readonly observer?: string;
  readonly json?: true;
}

export function backtestCommand(): Command {
  return command(
    'backtest',
    'Holds the rules of the file against past events: who would fire, who did. Sends and writes nothing',
  )
    .requiredOption('--since <time>', 'from 7d, 12h, … ago, or from a time such as 2026-11-20T12:00:00Z', moment)
    .option('--until <time>', 'up to then; default: now', moment)
    .option('--observer <name>', 'only this one')
    .addHelpText('after', '\nExample:\n  pg-observers backtest --since 7d --observer big-order-paid')
    .action(async (options: Options) => {
      const config = await readConfig(options);
      if (options.observer !== undefined) await requireObserver(config, options.observer);
      const { reportJson, reportText } = await import('../backtest-report.ts');
      const result = await withDatabase(sessionUrl(config), (pool) => backtest(pool, config, options));
      console.log(options.json ? reportJson(result) : reportText(result));
      if (result.stopped) process.exitCode = 1;
    });
}

async function backtest(
  pool: pg.Pool,
  config: Config,
  { since: from, until: to, observer }: Options,
): Promise<Backtested> {
  const [since, until] = [Date.parse(from), to === undefined ? Date.now() : Date.parse(to)];
  const [{ Backtest }, { FiredSet }, { RuleIndex }] = await Promise.all([
    import('../../rehearsal/backtest.ts'),
    import('../../rehearsal/fired-set.ts'),
    import('../../pipeline/decide/rule-index.ts'),
  ]);
  const observers = [...config.observers.values()].filter(({ name }) => observer === undefined || name === observer);
  const only = { ...config, observers: new Map(observers.map((one) => [one.name, one])) };
  const range: PastRange = { sinceMs: since, untilMs: until, sources: [...new Set(observers.map(sourceInLog))] };
  const tally = new Backtest(new RuleIndex(only), observers);
  const began = performance.now();
  const span = await readSpan(pool, range);
  const interrupt = interruption();
  if (span !== null) {
    const waitingOrDead = new FiredSet(only.observers.keys());
    for await (const rows of readQueuedAndDead(pool, span))
      for (const row of rows) waitingOrDead.add(row.event_id, row.observer);
    const progress = new Progress('events');
    for await (const { events, fired } of readPastEvents(pool, range, span)) {
      tally.add(events, (id) => together(fired.get(id), waitingOrDead.of(id)));
      progress.show(shareOf(span, events.at(-1)?.id), tally.events);
      if (interrupt.happened) break;
    }
    progress.end();
  }
  interrupt.forget();
  const tookMs = performance.now() - began;
  return {
    config,
    since,
    until,
    span,
    tookMs,
    events: tally.events,
    tallies: tally.tallies,
    stopped: interrupt.happened,
  };
}

/** `observers.emit` records its topic. */
const sourceInLog = ({ source }: Observer): string => (source.kind === 'topic' ? source.topic : source.name);

const nobody: readonly string[] = [];

/** Without a list of its own for each event that concerned nobody. */
const together = (tried: readonly string[] = nobody, others: readonly string[]): readonly string[] =>
  tried.length === 0 ? others : [...tried, ...others];

function shareOf({ first, last }: PastSpan, reached: string | undefined): number {
  const whole = Number(BigInt(last) - BigInt(first));
  return reached === undefined || whole === 0 ? 1 : Number(BigInt(reached) - BigInt(first)) / whole;
}

/** Ctrl-C: what was found so far is told. A second one ends the process at once. */
function interruption(): { readonly happened: boolean; forget(): void } {
  const state = { happened: false, forget: () => void process.off('SIGINT', stop) };
  const stop = (): void => {
    state.happened = true;
    process.off('SIGINT', stop);
  };
  process.on('SIGINT', stop);
  return state;
}
