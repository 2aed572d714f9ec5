import { ConfigError } from '../domain/errors.ts';
import type { DeliveryInput, OutcomesInput, RetryInput } from './delivery-input.ts';
import type { DigestInput, EmailInput, OwnEmailActionInput } from './kinds/email-input.ts';
import type { AddressesInput, BatchInput, WebhookInput, WebhookRequestInput } from './kinds/webhook-input.ts';

export type { AddressesInput, BatchInput, DigestInput, EmailInput, WebhookInput };

/**
 * observers.yaml as a plain object, for programs that embed pg-observers. `${VAR}` and `${{ }}` mean in it what they mean in
 * the file; durations are texts like `10s`, rates like `100/s`.
 */
export interface ConfigInput {
  /** Version of this format. */
  readonly version: 1;
  /** postgres:// URL. Default: the environment variable DATABASE_URL. */
  readonly database?: string;
  /** postgres:// URL of the same database past a pooler in transaction mode, which `database` may then be. */
  readonly direct_database?: string;
  /** Where events come from, by name. */
  readonly sources?: Readonly<Record<string, SourceInput>>;
  /** Where deliveries go, by name. */
  readonly destinations?: Readonly<Record<string, DestinationInput>>;
  /** The rules, by name. */
  readonly observers?: Readonly<Record<string, ObserverInput>>;
  /** For every destination that does not say otherwise. */
  readonly defaults?: DeliveryInput;
  readonly settings?: SettingsInput;
}

export type SourceInput = TableSourceInput | ChannelSourceInput | TopicSourceInput;

export interface TableSourceInput {
  /** `public.orders`, `orders` (schema public), `"My Schema"."Orders"`. */
  readonly table: string;
  /** Default: insert, update and delete. */
  readonly operations?: readonly ('insert' | 'update' | 'delete' | 'truncate')[];
  /** Columns to capture. Default: all, also ones added later. */
  readonly columns?: readonly string[];
  /** SQL over `new`, `old` and the bare columns, evaluated in the trigger. */
  readonly where?: string;
  /** Column that names the tenant. */
  readonly tenant?: string;
  /** false: events wait for the next poll, and writers may use PREPARE TRANSACTION. Default: true. */
  readonly notify?: boolean;
  /** Capture rows applied by logical replication too. Default: false. */
  readonly replicated?: boolean;
}

export interface ChannelSourceInput {
  /** Channel of your own NOTIFY, at most 63 bytes. */
  readonly channel: string;
}

export interface TopicSourceInput {
  /** Topic of `select observers.emit('topic', '{…}')`. */
  readonly topic: string;
}

export type DestinationInput = DeliveryInput &
  (
    | { readonly webhook: WebhookInput; readonly batch?: BatchInput }
    | { readonly email: EmailInput; readonly digest?: string | DigestInput }
    | { readonly slack: SlackInput }
    | { readonly sql: SqlInput }
    | { readonly module: string; readonly with?: unknown }
  );

export type SlackInput =
  | {
      /** Bot token with the scope chat:write. */
      readonly token: string;
      /** Root of the Slack API, for proxies and tests. */
      readonly api_url?: string;
    }
  | {
      /** URL of an incoming webhook. */
      readonly webhook_url: string;
    };

export interface SqlInput {
  /** postgres:// URL. Default: the observed database, where a statement commits together with its settlement. */
  readonly database?: string;
  /** Role that its statements run as. Default: the one that logs in. */
  readonly role?: string;
}

export interface ObserverInput {
  /** Name of a source. */
  readonly source: string;
  /** Operations it listens to. Default: all that the source captures. */
  readonly on?: readonly ('insert' | 'update' | 'delete' | 'truncate' | 'read' | 'notify' | 'emit')[];
  /** Condition: an expression (CEL) or a tree. Default: every event. */
  readonly when?: string | Readonly<Record<string, unknown>>;
  /** `key`, or an expression: deliveries with the same value to one destination go first in, first out. */
  readonly order_by?: string | OrderingInput;
  /** `shadow`: record what it would send, and send nothing. Default: live. */
  readonly mode?: 'live' | 'shadow';
  readonly actions: readonly ActionInput[];
}

export interface OrderingInput {
  /** `key`, or an expression. */
  readonly expression: string;
  /** When one of them becomes a dead letter: go on with the next, or wait until it is replayed or discarded. Default: skip. */
  readonly on_dead?: 'skip' | 'block';
}

export type ActionInput =
  | WebhookActionInput
  | EmailActionInput
  | SlackActionInput
  | SqlActionInput
  | ModuleActionInput
  | LogActionInput;

interface ActionCommonInput {
  /** Unique within the observer. Default: kind and position, `webhook-1`. */
  readonly name?: string;
  /** The destination's, unless given here. */
  readonly timeout?: string;
  /** Merged over the destination's. */
  readonly retry?: RetryInput | readonly string[];
  readonly outcomes?: OutcomesInput;
}

export interface WebhookActionInput extends ActionCommonInput, WebhookRequestInput {
  /** Name of a webhook destination, or an http(s) URL. */
  readonly webhook: string;
  /** The request body, as JSON. Default: the event envelope. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** `text` or `html`, or both. */
export interface EmailActionInput extends ActionCommonInput, OwnEmailActionInput {}

/** `text` or `blocks`, or both. */
export interface SlackActionInput extends ActionCommonInput {
  /** Name of a slack destination. */
  readonly slack: string;
  /** Channel id or `#name`; required with a token, built into an incoming webhook. */
  readonly channel?: string;
  /** Inserted values are escaped as mrkdwn. */
  readonly text?: string;
  /** Block Kit blocks. */
  readonly blocks?: readonly unknown[] | string;
  /** The older form of blocks. */
  readonly attachments?: readonly unknown[] | string;
  /** Instead of the app's name and icon. */
  readonly username?: string;
  readonly icon_emoji?: string;
  readonly icon_url?: string;
  /** Previews of links. Default: as Slack does by itself. */
  readonly unfurl_links?: boolean;
  readonly unfurl_media?: boolean;
  /** The first message of a channel with a key begins a thread, the others reply in it. */
  readonly thread_key?: string;
  /** A reply is shown in the channel, too. */
  readonly reply_broadcast?: boolean;
  /** The later messages of a channel with the same key edit the first one. */
  readonly update_key?: string;
}

export interface SqlActionInput extends ActionCommonInput {
  /** Name of a sql destination. */
  readonly sql: string;
  /** One statement. Each `${{ }}` becomes a parameter. */
  readonly statement: string;
}

export interface ModuleActionInput extends ActionCommonInput {
  /** Name of a module destination. */
  readonly module: string;
  /** What the module gets. Default: the event envelope. */
  readonly input?: unknown;
}

export interface LogActionInput extends ActionCommonInput {
  /** A line for the process's own log. */
  readonly log: string;
  /** Default: info. */
  readonly level?: 'debug' | 'info' | 'warn' | 'error';
  /** Further members of the line. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** The program itself. Each also by environment variable (PG_OBSERVERS_LISTEN, …), which wins. */
export interface SettingsInput {
  /** `host:port` of the HTTP server, or `off`. Default: 127.0.0.1:7420. */
  readonly listen?: string;
  /** How often to look for events when nothing woke the router, 10ms to 1h. Default: 1s. */
  readonly poll_interval?: string;
  /** An instance silent for this long is taken for dead, 100ms to 1h. Default: 10s. */
  readonly instance_timeout?: string;
  /** How long to keep the past, 1s to 3650d. Default: 7d each, as large as it gets, and no archive. */
  readonly retention?: {
    readonly events?: string;
    readonly attempts?: string;
    /** Of both on disk: `50GB`. */
    readonly max_size?: string;
    /** Days are written there before they are dropped. */
    readonly archive?: { readonly directory: string };
  };
  readonly opentelemetry?: {
    readonly endpoint: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly service_name?: string;
    readonly sample?: number;
  };
  /** Kept in the database too, so that a clone of it does not act as the original. */
  readonly environment?: string;
  /** How many sql actions may follow from one another, 1 to 100. Default: 8. */
  readonly max_depth?: number;
  /** Which attempts the history keeps. Default: all. */
  readonly attempts?: 'all' | 'failures' | 'none';
  /** What one tenant may have of everything, and `overrides` for single tenants by name. Default: no bounds. */
  readonly tenants?: TenantQuotaInput & { readonly overrides?: Readonly<Record<string, TenantQuotaInput>> };
}

export interface TenantQuotaInput {
  /** Deliveries that may wait, about, 1 to 1000000000; what comes on top becomes dead letters (`over_quota`). */
  readonly max_pending?: number;
  /** `50/s`: attempts at all destinations together, per process. */
  readonly max_rate?: string;
}

/**
 * The object as JSON, which is YAML. What JSON would drop or bend in silence (a function as condition, say, would leave an
 * observer that fires on everything) is refused.
 */
export function serialize(input: ConfigInput): string {
  try {
    return JSON.stringify(input, refuseUnwritable, 2) ?? 'null';
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw refusal("the configuration object can't be written as JSON: it contains itself, or something that throws");
  }
}

function refuseUnwritable(key: string, value: unknown): unknown {
  const unwritable = ['function', 'symbol', 'bigint'].includes(typeof value);
  if (unwritable || (typeof value === 'number' && !Number.isFinite(value))) {
    throw refusal(`\`${key}\` is a ${unwritable ? typeof value : 'number that JSON does not have'}`);
  }
  return value;
}

function refusal(message: string): ConfigError {
  return new ConfigError([
    { file: 'config', line: 1, column: 1, message, hint: 'use plain data: text, numbers, lists, objects' },
  ]);
}
