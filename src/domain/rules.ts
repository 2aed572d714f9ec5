import type { Action } from './actions.ts';
import type { Destination } from './destinations.ts';
import type { Operation } from './event.ts';
import type { CompiledExpression } from './expression.ts';
import type { Position } from './position.ts';
import type { Settings } from './settings.ts';

export type * from './actions.ts';
export type * from './destinations.ts';
export type * from './position.ts';
export type * from './settings.ts';

export type Source = TableSource | ChannelSource | TopicSource;

export interface TableSource {
  readonly kind: 'table';
  readonly name: string;
  readonly position: Position;
  readonly schema: string;
  readonly table: string;
  readonly operations: readonly ('insert' | 'update' | 'delete' | 'truncate')[];
  /** null: every column, also ones added later. */
  readonly columns: readonly string[] | null;
  /** SQL over `new`, `old` and the bare columns; trusted, evaluated inside the trigger. */
  readonly where: string | null;
  /** Column that names the tenant. */
  readonly tenant: string | null;
  /** false: the trigger never notifies, so writers may use PREPARE TRANSACTION; events wait for the next poll. */
  readonly notify: boolean;
  /** true: row-level ENABLE ALWAYS triggers, so that rows applied by logical replication are captured too. */
  readonly replicated: boolean;
}

export interface ChannelSource {
  readonly kind: 'channel';
  readonly name: string;
  readonly position: Position;
  readonly channel: string;
}

export interface TopicSource {
  readonly kind: 'topic';
  readonly name: string;
  readonly position: Position;
  readonly topic: string;
}

export type OnDead = 'skip' | 'block';

export interface Observer {
  readonly name: string;
  readonly position: Position;
  readonly source: Source;
  /** Operations it listens to: never empty. */
  readonly on: readonly Operation[];
  /** null: every event of the source. */
  readonly when: CompiledExpression | null;
  /** Deliveries with the same value to one destination go first in, first out. `key` means the event's key. */
  readonly orderBy: CompiledExpression | null;
  /** When one of an ordered lane dies: `skip` goes on with the next, `block` waits until it is replayed or discarded. */
  readonly onDead: OnDead;
  /** `shadow`: what it would send is recorded, and nothing is sent. */
  readonly mode: 'live' | 'shadow';
  readonly actions: readonly Action[];
  /** Hash of the rule as written: kept with every delivery and dead letter. */
  readonly version: string;
}

/** observers.yaml, checked, with every reference resolved and every unit in milliseconds. Deeply frozen. */
export interface Config {
  /** For messages; null when it came from a typed object. */
  readonly file: string | null;
  readonly database: string;
  /** The same database past a pooler, for what needs a session of its own; null: `database` gives sessions. */
  readonly directDatabase: string | null;
  readonly sources: ReadonlyMap<string, Source>;
  /** Named ones and the literal URLs that actions use. */
  readonly destinations: ReadonlyMap<string, Destination>;
  readonly observers: ReadonlyMap<string, Observer>;
  readonly settings: Settings;
  /** Hash of all rules, without secrets: two instances with the same hash run the same rules. */
  readonly version: string;
  /** Every resolved secret value, for redaction in logs and dead letters. */
  readonly secrets: readonly string[];
}
