import { type Command, InvalidArgumentError } from 'commander';
import { UserError } from '../../domain/errors.ts';
import type { Config } from '../../domain/rules.ts';
import { type EventHistory, type EventId, readEventHistory } from '../../transport/postgres/event-history.ts';
import { type ConfigOptions, command, readConfig, sessionUrl, withDatabase } from '../options.ts';

interface Options extends ConfigOptions {
  readonly observer?: string;
  readonly json?: true;
}

export function explainCommand(): Command {
  return command('explain', 'Why each observer fired on an event, or did not, and what became of it')
    .alias('debug-event')
    .argument('<event-id>', 'its uid, as receivers see it (`id` in the body), or its number in the log', eventId)
    .option('--observer <name>', 'only this one')
    .addHelpText(
      'after',
      '\nExample:\n  pg-observers explain 0193d2b4-8f5e-7c3a-9d2b-1f0e6a7c8b9d --observer big-order-paid',
    )
    .action(async (id: EventId, options: Options) => {
      const config = await readConfig(options);
      if (options.observer !== undefined) await requireObserver(config, options.observer);
      const history = await withDatabase(sessionUrl(config), (pool) => readEventHistory(pool, id));
      if (history === null) throw absent(id, config);
      // The expression language is loaded when it is needed.
      const { explanationJson, explanationText } = await import('../event-explanation.ts');
      const shown = limited(history, options.observer);
      console.log(
        options.json
          ? explanationJson(shown, config, options.observer)
          : explanationText(shown, config, options.observer),
      );
    });
}

/** The uid of an event, or its number. */
export function eventId(text: string): EventId {
  if (/^[1-9]\d{0,18}$/.test(text)) return { id: text };
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return { uid: text.toLowerCase() };
  throw new InvalidArgumentError(
    'Write the uid of an event, such as 0193d2b4-8f5e-7c3a-9d2b-1f0e6a7c8b9d, or its number.',
  );
}

/** Names in an error; more are looked up in the file. */
const mostNames = 10;

export async function requireObserver({ observers, file }: Config, name: string): Promise<void> {
  if (observers.has(name)) return;
  const { didYouMean } = await import('../../config/suggestions.ts');
  const hint = didYouMean(name, observers.keys()) ?? `there: ${[...observers.keys()].slice(0, mostNames).join(', ')}`;
  throw new UserError(`There is no observer ${name} in ${file ?? 'the rules'}.  (${hint})`, 2, {
    code: 'PGO-OBSERVER',
  });
}

/** Past retention, or never there. */
export function absent(id: EventId, { settings }: Config): UserError {
  const days = Math.round(settings.retention.eventsMs / 86_400_000);
  const what = 'uid' in id ? id.uid : id.id;
  return new UserError(
    `Event ${what} is not in the log, and no dead letter keeps a copy of it: it never was, or it is older than settings.retention.events (${days} d here).`,
    1,
    { code: 'PGO-EVENT' },
  );
}

function limited(history: EventHistory, observer: string | undefined): EventHistory {
  if (observer === undefined) return history;
  const only = <T extends { readonly observer: string }>(rows: readonly T[]) =>
    rows.filter((row) => row.observer === observer);
  return {
    ...history,
    deliveries: only(history.deliveries),
    attempts: only(history.attempts),
    dead_letters: only(history.dead_letters),
  };
}
