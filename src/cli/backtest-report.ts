import pc from 'picocolors';
import type { Config } from '../domain/rules.ts';
import type { Examples, ObserverTally } from '../rehearsal/backtest.ts';
import type { PastSpan } from '../transport/postgres/past-events.ts';
import { span as spanText, table } from './table.ts';

export interface Backtested {
  readonly config: Config;
  /** Unix milliseconds. */
  readonly since: number;
  readonly until: number;
  /** null: there was no event. */
  readonly span: PastSpan | null;
  readonly tookMs: number;
  readonly events: number;
  readonly tallies: readonly ObserverTally[];
  /** Interrupted: what is told is of the first part. */
  readonly stopped: boolean;
}

export function reportText(result: Backtested): string {
  const { events, tookMs, tallies, stopped } = result;
  const rate = Math.round(events / Math.max(tookMs / 1_000, 0.001));
  return [
    `${events} events decided in ${spanText(tookMs)} (${rate}/s). Nothing was sent or written.`,
    ...(stopped ? [pc.yellow('Interrupted: this is of the events before.')] : []),
    ...notes(result).map((note) => pc.yellow(note)),
    '',
    table(
      ['OBSERVER', 'WOULD FIRE', 'DID FIRE', 'ONLY WOULD', 'ONLY DID', 'FAULTS'],
      tallies.map(({ observer, wouldFire, didFire, onlyWould, onlyDid, faults }) => [
        observer.mode === 'shadow' ? `${observer.name} (shadow)` : observer.name,
        ...[wouldFire, didFire, onlyWould.count, onlyDid.count, faults.count].map(String),
      ]),
    ),
    ...tallies.flatMap(differencesOf),
  ].join('\n');
}

function differencesOf({ observer, onlyWould, onlyDid, faults }: ObserverTally): string[] {
  const told = [
    ...section('would fire, and did not', onlyWould),
    ...section('did fire, and would not', onlyDid),
    ...section(`engine fault: ${faults.message}`, faults),
  ];
  return told.length === 0 ? [] : ['', pc.bold(observer.name), ...told];
}

function section(what: string, { count, events }: Examples): string[] {
  if (count === 0) return [];
  const lines = events.map(
    ({ uid, source, operation, key, at }) =>
      `    ${uid}  ${at.slice(0, 19)}  ${source}.${operation}${key === null ? '' : ` ${key}`}`,
  );
  const more = count > events.length ? [pc.dim(`    … and ${count - events.length} more`)] : [];
  return [`  ${what}: ${count}`, ...lines, ...more];
}

/** What makes "did fire" incomplete. */
function notes({ config, since, span }: Backtested): string[] {
  const { attempts, retention } = config.settings;
  const told: string[] = [];
  if (span === null) told.push('The log has no event of this time.');
  else if (new Date(span.begins).getTime() > since + 60_000)
    told.push(`The log begins at ${span.begins}: what was before is past retention, or never was.`);
  if (attempts !== 'all')
    told.push(
      `settings.attempts is ${attempts}: what was delivered at the first attempt left no trace, and counts as not fired.`,
    );
  if (Date.now() - since > retention.attemptsMs)
    told.push(
      'The history of attempts is kept for less time than this goes back: what was delivered before counts as not fired.',
    );
  return told;
}

export function reportJson({ since, until, events, tookMs, tallies, stopped, ...result }: Backtested): string {
  const examples = ({ count, events: found }: Examples) => ({
    count,
    events: found.map(({ uid, id, at }) => ({ uid, id, created_at: at })),
  });
  return JSON.stringify(
    {
      since: new Date(since).toISOString(),
      until: new Date(until).toISOString(),
      events,
      took_ms: Math.round(tookMs),
      complete: !stopped,
      notes: notes({ since, until, events, tookMs, tallies, stopped, ...result }),
      observers: tallies.map(({ observer, wouldFire, didFire, onlyWould, onlyDid, faults }) => ({
        observer: observer.name,
        mode: observer.mode,
        would_fire: wouldFire,
        did_fire: didFire,
        only_would: examples(onlyWould),
        only_did: examples(onlyDid),
        faults: { ...examples(faults), message: faults.message },
      })),
    },
    null,
    2,
  );
}
