import type { EventRecord, JsonText } from '../domain/event.ts';
import type { DeliveryFacts, Scope } from '../domain/expression.ts';
import { changedColumns, parseForEvaluation, parseForPrinting } from './json.ts';
import { peek } from './peek.ts';

/** The variables that hold JSON from the database. */
export type JsonVariable = 'new' | 'old' | 'payload' | 'context';

/** Those of a row, one object each. */
export type RowImage = 'new' | 'old';

/** The variables of one event. Nothing is parsed before an expression asks, and then once for all of them. */
export function createScope(record: EventRecord, delivery?: DeliveryFacts): Scope {
  return new EventScope(record, delivery);
}

/** The lazy scope behind a Scope: itself when `createScope` made it. */
export function eventScope(scope: Scope): EventScope {
  return scope instanceof EventScope ? scope : new EventScope(scope.record, scope.delivery);
}

/** What `event` is in an expression. A class of its own, so that a misspelt field is found at load. */
export class EventView {
  readonly #scope: EventScope;

  constructor(scope: EventScope) {
    this.#scope = scope;
  }

  get id(): string {
    return this.#scope.record.uid;
  }
  get source(): string {
    return this.#scope.record.source;
  }
  get operation(): string {
    return this.#scope.record.operation;
  }
  get table(): string | null {
    const { schema, table } = this.#scope.record;
    return table === null ? null : schema === null ? table : `${schema}.${table}`;
  }
  get key(): string | null {
    return this.#scope.record.key;
  }
  get tenant(): string | null {
    return this.#scope.record.tenant;
  }
  get at(): string {
    return this.#scope.record.at;
  }
  get context(): unknown {
    return this.#scope.context ?? {};
  }

  toJSON(): Record<string, unknown> {
    const { id, source, operation, table, key, tenant, at } = this;
    return { id, source, operation, table, key, tenant, at, context: this.#scope.exact('context') ?? {} };
  }
}

/** What `delivery` is in an expression: a class of its own for the same reason. */
export class DeliveryView implements DeliveryFacts {
  readonly id: string;
  readonly observer: string;
  readonly action: string;
  readonly replay: boolean;

  constructor({ id, observer, action, replay }: DeliveryFacts) {
    this.id = id;
    this.observer = observer;
    this.action = action;
    this.replay = replay;
  }

  toJSON(): Record<string, unknown> {
    const { id, observer, action } = this;
    return { id, observer, action };
  }
}

/** cel-js reads variables as properties, so getters make them lazy without a copy per evaluation. */
export class EventScope implements Scope {
  readonly record: EventRecord;
  readonly delivery: DeliveryView | undefined;
  // undefined: not parsed yet.
  #new: unknown;
  #old: unknown;
  #payload: unknown;
  #context: unknown;
  #exact: Partial<Record<JsonVariable, unknown>> | undefined;
  #event: EventView | undefined;
  #changed: readonly string[] | undefined;
  /** One column was looked for in the text: for a second one it is worth parsing. */
  #peekedNew = false;
  #peekedOld = false;

  constructor(record: EventRecord, delivery?: DeliveryFacts) {
    this.record = record;
    this.delivery = delivery && new DeliveryView(delivery);
  }

  get event(): EventView {
    this.#event ??= new EventView(this);
    return this.#event;
  }
  get new(): unknown {
    if (this.#new === undefined) this.#new = evaluable(this.record.new);
    return this.#new;
  }
  get old(): unknown {
    if (this.#old === undefined) this.#old = evaluable(this.record.old);
    return this.#old;
  }
  get payload(): unknown {
    if (this.#payload === undefined) this.#payload = evaluable(this.record.payload);
    return this.#payload;
  }
  /** `event.context`; null when the event has none. */
  get context(): unknown {
    if (this.#context === undefined) this.#context = evaluable(this.record.context);
    return this.#context;
  }
  get changed(): readonly string[] {
    const { operation, old, new: current } = this.record;
    this.#changed ??= operation === 'update' ? changedColumns(old, current) : [];
    return this.#changed;
  }

  /**
   * The first column that is asked for of an image, if that is a matter of looking.
   * @param quoted its name, as `peek` wants it
   * @returns undefined: read the image
   */
  peek(image: RowImage, quoted: string): string | number | boolean | null | undefined {
    const text = this.record[image];
    if (text === null) return undefined;
    if (image === 'new') {
      if (this.#peekedNew || this.#new !== undefined) return undefined;
      this.#peekedNew = true;
    } else {
      if (this.#peekedOld || this.#old !== undefined) return undefined;
      this.#peekedOld = true;
    }
    return peek(text, quoted);
  }

  text(name: JsonVariable): JsonText | null {
    return this.record[name];
  }

  /** With every number as PostgreSQL printed it. */
  exact(name: JsonVariable): unknown {
    const text = this.record[name];
    if (text === null) return null;
    this.#exact ??= {};
    this.#exact[name] ??= parseForPrinting(text);
    return this.#exact[name];
  }
}

function evaluable(text: JsonText | null): unknown {
  return text === null ? null : parseForEvaluation(text);
}
