import pc from 'picocolors';
import type {
  EventDeadLetter,
  EventHistory,
  PastAttempt,
  PendingDelivery,
} from '../transport/postgres/event-history.ts';
import { span } from './table.ts';

interface Moment {
  readonly at: string;
  readonly what: string;
  readonly whose: string;
  readonly detail: string;
}

/** What became of an event, in the order of time. */
export function timeline(history: EventHistory): string {
  const { event, deliveries, attempts, dead_letters: letters } = history;
  const moments: Moment[] = [
    { at: event.at, what: 'captured', whose: `${event.source}.${event.operation}`, detail: '' },
    ...attempts.map(attempted),
    ...letters.flatMap(died),
    ...deliveries.map(queued),
  ].map((moment) => ({ ...moment, at: clock(moment.at) }));
  const sorted = moments.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const width = (cell: (moment: Moment) => string) => Math.max(...sorted.map((moment) => cell(moment).length));
  const [what, whose] = [width((m) => m.what), width((m) => m.whose)];
  const lines = sorted.map((m) =>
    `  ${m.at.slice(0, 23)}  ${m.what.padEnd(what)}  ${m.whose.padEnd(whose)}  ${m.detail}`.trimEnd(),
  );
  const nothing =
    deliveries.length + attempts.length + letters.length === 0
      ? ['  Nothing else is kept of it: no delivery, no attempt, no dead letter.']
      : [];
  return [`${pc.bold('What happened')}  (UTC)`, ...lines, ...nothing].join('\n');
}

/** `2026-11-20 12:00:00.123456`, in UTC: comparable as text, whether it came with T and Z or as PostgreSQL prints it. */
function clock(at: string): string {
  const [whole = '', fraction = ''] = at
    .replace('T', ' ')
    .replace(/(Z|\+00)$/, '')
    .split('.');
  return `${whole}.${fraction.padEnd(6, '0')}`;
}

const to = ({
  observer,
  action,
  destination,
}: {
  observer: string;
  action: string | null;
  destination: string | null;
}) =>
  `${observer}${action === null || action === '' ? '' : `/${action}`}${destination === null || destination === '' ? '' : ` → ${destination}`}`;

function attempted(attempt: PastAttempt): Moment {
  const {
    outcome,
    status,
    error_class: error,
    error_message: message,
    duration_ms: ms,
    response_excerpt: answer,
  } = attempt;
  if (outcome === 'shadow') {
    const detail =
      message === null ? `not sent: shadow mode; ${attempt.request ?? ''}` : `shadow mode, and a fault: ${message}`;
    return { at: attempt.started_at, what: 'shadow', whose: to(attempt), detail: cut(detail) };
  }
  const answered = [status, error === `http_${status}` ? null : error].filter((part) => part !== null).join(' ');
  const why = message ?? (outcome === 'delivered' ? null : answer);
  const run = attempt.replay_run === null ? '' : `replay ${attempt.replay_run}`;
  const detail = [outcome, answered, span(ms), run, why].filter((part) => part !== null && part !== '').join('  ');
  return { at: attempt.started_at, what: `attempt ${attempt.attempt}`, whose: to(attempt), detail: cut(detail) };
}

function died(letter: EventDeadLetter): Moment[] {
  const why = letter.error_message ?? letter.error_class ?? '';
  const letterIs = {
    at: letter.died_at,
    what: 'dead letter',
    whose: to(letter),
    detail: cut(`${letter.id}  ${letter.reason}  ${why}`),
  };
  if (letter.last_replayed_at === null) return [letterIs];
  return [
    letterIs,
    {
      at: letter.last_replayed_at,
      what: 'replay',
      whose: to(letter),
      detail: `of dead letter ${letter.id}, replayed ${letter.replays} ×`,
    },
  ];
}

function queued(delivery: PendingDelivery): Moment {
  const dueMs = new Date(delivery.due_at).getTime() - Date.now();
  const states = {
    ready: dueMs > 0 ? `due in ${span(dueMs)}` : 'due: waits for a free place',
    claimed: 'is being attempted',
    blocked: 'waits for the one before it in its lane',
  };
  const tries = delivery.attempts === 0 ? '' : `after ${delivery.attempts} attempts  `;
  const replays = delivery.dead_letter === null ? '' : `replays dead letter ${delivery.dead_letter}  `;
  const run = delivery.replay_run === null ? '' : `replay ${delivery.replay_run}  `;
  const detail = `${replays}${run}${tries}${states[delivery.state]}${delivery.last_error === null ? '' : `  ${delivery.last_error}`}`;
  return { at: delivery.queued_at, what: 'queued', whose: to(delivery), detail: cut(detail) };
}

function cut(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length <= 160 ? line : `${line.slice(0, 159)}…`;
}
