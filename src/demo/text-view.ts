import type pc from 'picocolors';
import type { EventRecord } from '../domain/event.ts';
import type { Config } from '../domain/rules.ts';
import type { AttemptFinished, RoutedEvent, TelemetryEvent } from '../domain/telemetry.ts';
import { eventLabel } from './event-label.ts';
import { Layout } from './layout.ts';
import type { View, Write } from './view.ts';

export interface TextViewOptions {
  readonly config: Config;
  readonly write: Write;
  readonly colors: ReturnType<typeof pc.createColors>;
  /** Columns of the terminal, asked anew for every line; undefined: piped. */
  readonly width: () => number | undefined;
}

/** How long the outcomes of one event are collected, so that they stand together. Milliseconds. */
const togetherMs = 250;
/** Lines per second a person can follow; beyond that only failures are printed, and the rest is counted. */
const readableLines = 30;

/** An event whose first outcomes are awaited. */
interface Group {
  readonly routed: RoutedEvent;
  readonly outcomes: Map<string, AttemptFinished>;
  readonly timer: NodeJS.Timeout;
}

export class TextView implements View {
  readonly #options: TextViewOptions;
  readonly #actions: ReadonlyMap<string, { kind: string; attempts: number }>;
  readonly #groups = new Map<string, Group>();
  /** Whether the last line is empty. */
  #blank = false;
  readonly #pace = { second: 0, lines: 0, skippedEvents: 0, skippedDeliveries: 0 };

  constructor(options: TextViewOptions) {
    this.#options = options;
    this.#actions = new Map(
      [...options.config.observers.values()].flatMap((observer) =>
        observer.actions.map((action) => [
          `${observer.name}/${action.name}`,
          { kind: action.kind, attempts: action.retry.attempts },
        ]),
      ),
    );
  }

  readonly telemetry = (event: TelemetryEvent): void => {
    if (event.type === 'events.routed') this.#routed(event.events);
    else if (event.type === 'attempt.finished') this.#attempted(event);
  };

  header(title: string, facts: readonly (readonly [label: string, text: string])[]): void {
    const { colors } = this.#options;
    const layout = this.#layout();
    const lines = ['', ...layout.wrap(title, layout.width).map(colors.bold), ''];
    for (const [label, text] of facts) {
      const [first = '', ...more] = layout.wrap(text, layout.width - 12);
      // A URL that does not fit beside its label gets a line of its own.
      const alone = first.length > layout.width - 12;
      lines.push(`  ${colors.dim(label.padEnd(10))}${alone ? '' : first}`, ...(alone ? [first] : []));
      lines.push(...more.map((line) => (line.length > layout.width - 12 ? line : ' '.repeat(12) + line)));
    }
    this.#write(`${lines.join('\n')}\n\n`);
  }

  step(tone: 'good' | 'bad' | 'plain', text: string): void {
    const { colors } = this.#options;
    const paint = { good: colors.green, bad: colors.red, plain: colors.cyan }[tone];
    const layout = this.#layout();
    const lines = layout
      .wrap(text, layout.width - 12)
      .map((line, i) => `${i === 0 ? `${clock()}  ▶ ` : ' '.repeat(12)}${line}`);
    this.flush();
    this.#write(`${this.#blank ? '' : '\n'}${lines.map((line) => paint(colors.bold(line))).join('\n')}\n\n`);
  }

  remark(text: string): void {
    if (!this.#mayPrint(1)) return;
    const layout = this.#layout();
    const { colors } = this.#options;
    for (const [i, line] of layout.wrap(`(${text})`, layout.width - 10).entries()) {
      this.#write(`${colors.dim(`${i === 0 ? clock() : ' '.repeat(8)}  ${line}`)}\n`);
    }
  }

  flush(): void {
    for (const uid of [...this.#groups.keys()]) this.#print(uid);
    this.#printSkipped();
  }

  summary(line: string): void {
    const { colors } = this.#options;
    this.flush();
    this.#write(
      `${this.#blank ? '' : '\n'}${line.endsWith(' 0 lost') ? colors.bold(colors.green(line)) : colors.bold(colors.red(line))}\n`,
    );
  }

  #routed(events: readonly RoutedEvent[]): void {
    const silent: RoutedEvent[] = [];
    for (const routed of events) {
      const { uid } = routed.record;
      if (routed.deliveries.length === 0) silent.push(routed);
      else {
        const timer = setTimeout(() => this.#print(uid), togetherMs);
        this.#groups.set(uid, { routed, outcomes: new Map(), timer });
      }
    }
    const alike = new Map<string, EventRecord[]>();
    for (const { record } of silent) {
      const kind = `${record.source}.${record.operation}`;
      alike.set(kind, [...(alike.get(kind) ?? []), record]);
    }
    for (const records of alike.values()) this.#printSilent(records);
  }

  #attempted(attempt: AttemptFinished): void {
    const group = this.#groups.get(attempt.event.uid);
    const action = actionOf(attempt);
    if (group === undefined || group.outcomes.has(action)) {
      if (group !== undefined) this.#print(attempt.event.uid);
      // The first outcome of a delivery that had to wait, a retry or a replay: a line of its own.
      if (attempt.outcome === 'dead' || this.#mayPrint(1, 0, 1)) this.#line(attempt.event, attempt, true, true);
      return;
    }
    group.outcomes.set(action, attempt);
    if (group.outcomes.size === group.routed.deliveries.length) this.#print(attempt.event.uid);
  }

  /** An event with the outcomes so far, in the order of the file. */
  #print(uid: string): void {
    const group = this.#groups.get(uid);
    if (group === undefined) return;
    clearTimeout(group.timer);
    this.#groups.delete(uid);
    const { record, deliveries } = group.routed;
    const failed = [...group.outcomes.values()].some(({ outcome }) => outcome === 'dead');
    if (!this.#mayPrint(deliveries.length, 1, deliveries.length) && !failed) return;
    let observer = '';
    for (const [i, delivery] of deliveries.entries()) {
      const outcome = group.outcomes.get(actionOf(delivery));
      this.#line(record, outcome ?? delivery, i === 0, delivery.observer !== observer);
      observer = delivery.observer;
    }
  }

  #line(
    record: EventRecord,
    delivery: AttemptFinished | RoutedEvent['deliveries'][number],
    showEvent: boolean,
    showObserver: boolean,
  ): void {
    const layout = this.#layout();
    const { colors } = this.#options;
    const kind = this.#actions.get(actionOf(delivery))?.kind ?? '';
    const [paint, outcome] = this.#outcome(delivery, layout.roomy);
    const cells = layout.fit({
      time: showEvent ? clock() : '',
      event: showEvent ? eventLabel(record, layout.roomy) : '',
      observer: showObserver ? delivery.observer : '',
      destination: layout.destination(kind, delivery.destination),
      outcome,
    });
    const arrow = colors.dim(cells.arrow);
    this.#write(
      `${colors.dim(cells.time)}${cells.event}${colors.cyan(cells.observer)}${arrow}${cells.destination}${paint(cells.outcome)}`
        .trimEnd()
        .concat('\n'),
    );
  }

  #outcome(
    delivery: AttemptFinished | RoutedEvent['deliveries'][number],
    roomy: boolean,
  ): readonly [paint: (text: string) => string, text: string] {
    const { colors } = this.#options;
    if (!('outcome' in delivery)) return [colors.yellow, '… waits'];
    const { status, errorClass, durationMs, attempt, outcome } = delivery;
    const answer = String(status ?? errorClass ?? '').padEnd(3);
    if (outcome === 'delivered') {
      const again = delivery.replay ? 'replayed' : attempt > 1 ? `try ${attempt}` : '';
      const took = `${String(Math.round(durationMs)).padStart(4)} ms`;
      return [colors.green, `✓ ${answer} ${roomy ? `${took}  ${again}` : again || took}`.trimEnd()];
    }
    if (outcome === 'dead') {
      return [colors.red, roomy ? `✗ ${answer}  try ${attempt}, gives up: dead letter` : `✗ ${answer} dead`];
    }
    const most = this.#actions.get(actionOf(delivery))?.attempts ?? attempt;
    const next = `  try ${attempt} of ${most}, again in ${Math.round(delivery.retryInMs ?? 0)} ms`;
    return [colors.yellow, `✗ ${answer}${roomy ? next : ` try ${attempt}/${most}`}`];
  }

  #printSilent(records: readonly EventRecord[]): void {
    const [first] = records;
    if (first === undefined || !this.#mayPrint(1, records.length, 0)) return;
    const layout = this.#layout();
    const label =
      records.length > 1 ? `${first.source}.${first.operation} ×${records.length}` : eventLabel(first, layout.roomy);
    this.#write(`${this.#options.colors.dim(layout.fitShort(clock(), label, '· no observer fires'))}\n`);
  }

  /** Counts what it refuses. */
  #mayPrint(lines: number, events = 0, deliveries = 0): boolean {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#pace.second) {
      this.#printSkipped();
      Object.assign(this.#pace, { second, lines: 0 });
    }
    this.#pace.lines += lines;
    if (this.#pace.lines <= readableLines) return true;
    this.#pace.skippedEvents += events;
    this.#pace.skippedDeliveries += deliveries;
    return false;
  }

  #printSkipped(): void {
    const { skippedEvents, skippedDeliveries } = this.#pace;
    if (skippedEvents + skippedDeliveries === 0) return;
    Object.assign(this.#pace, { skippedEvents: 0, skippedDeliveries: 0 });
    const text = `          … and ${skippedEvents} more events, ${skippedDeliveries} more outcomes`;
    this.#write(`${this.#options.colors.dim(text)}\n`);
  }

  #write(text: string): void {
    this.#options.write(text);
    this.#blank = text.endsWith('\n\n');
  }

  #layout(): Layout {
    return new Layout(this.#options.config, this.#options.width());
  }
}

const actionOf = ({ observer, action }: { observer: string; action: string }) => `${observer}/${action}`;

/** Local time: 12:00:03. */
function clock(): string {
  return new Date().toTimeString().slice(0, 8);
}
