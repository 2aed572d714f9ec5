import type { ModuleReference } from './custom-action.ts';
import type { Operation } from './event.ts';
import type { CompiledExpression, Template, UrlTemplate } from './expression.ts';
import type { Gathering } from './gathering.ts';
import type { OutcomePolicy } from './outcome-policy.ts';
import type { RetentionPolicy } from './retention.ts';
import type { RetryPolicy } from './retry.ts';
import type { StatementTemplate } from './sql.ts';
import type { LogLevel } from './telemetry.ts';
import type { AddressPolicy, OAuth2Client, Parameter, TlsOptions, WebhookFormat, WebhookMethod } from './webhook.ts';

/** Where something stands in the file, for messages: 1-based. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

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

export interface RateLimit {
  readonly count: number;
  readonly perMs: number;
}

export interface CircuitBreakerPolicy {
  /** Share of failed attempts in the window that opens the breaker, in (0, 1]. */
  readonly failureRate: number;
  /** Attempts in the window before the rate means anything. */
  readonly minimum: number;
  readonly windowMs: number;
  /** How long it stays open at first; twice as long each time a probe fails, up to `openForMaxMs`. */
  readonly openForMs: number;
  readonly openForMaxMs: number;
  /** Probes in a row that must succeed before it closes. */
  readonly successes: number;
  /** What has a breaker of its own: the destination, or each of its tenants (and what has none). */
  readonly per: 'destination' | 'tenant';
}

/** What one tenant may have of everything. */
export interface TenantQuota {
  /** Deliveries of it that wait, at most; null: no bound. */
  readonly maxPending: number | null;
  /** Attempts for it at all destinations, per process; null: no limit. */
  readonly maxRate: RateLimit | null;
}

export interface TenantQuotas {
  /** For tenants that have none of their own. */
  readonly common: TenantQuota;
  readonly named: ReadonlyMap<string, TenantQuota>;
}

interface DestinationCommon {
  /** The name in the file, or for a literal URL its origin and path. Holds no secret. */
  readonly name: string;
  readonly position: Position;
  /** One deadline for a whole attempt: DNS, connect, TLS, headers and body. */
  readonly timeoutMs: number;
  /** Attempts in flight at once, per process. */
  readonly concurrency: number;
  readonly retry: RetryPolicy;
  /** What counts as a success, what is tried again, what is final. */
  readonly outcomes: OutcomePolicy;
  /** The longest that a receiver's Retry-After may make it wait. 0: it is not heeded. */
  readonly retryAfterMaxMs: number;
  readonly rateLimit: RateLimit | null;
  /** The same two for each tenant; what has no tenant is not limited by them. null: no limit. */
  readonly tenantConcurrency: number | null;
  readonly tenantRateLimit: RateLimit | null;
  readonly circuitBreaker: CircuitBreakerPolicy | null;
  /** Only webhooks go by it: the addresses of mail servers and of Slack never come from data. */
  readonly addresses: AddressPolicy;
}

export interface WebhookDestination extends DestinationCommon {
  readonly kind: 'webhook';
  /** As written. */
  readonly url: string;
  /** null: `url` is the same for every event. */
  readonly urlTemplate: UrlTemplate | null;
  /** What an action's requests have unless it says otherwise. */
  readonly method: WebhookMethod;
  readonly format: WebhookFormat;
  readonly query: readonly Parameter[];
  /** Standard Webhooks secrets, the newest first; empty: unsigned. */
  readonly secrets: readonly string[];
  /** Static request headers, lower-case names; bearer and basic authentication among them. Values may be secret. */
  readonly headers: Readonly<Record<string, string>>;
  readonly oauth2: OAuth2Client | null;
  readonly tls: TlsOptions | null;
  /** `batch`; null: each delivery is a request. */
  readonly gathering: Gathering | null;
}

export interface EmailDestination extends DestinationCommon {
  readonly kind: 'email';
  /** smtp:// or smtps:// URL, credentials inside; or the same in parts. */
  readonly smtp: string | SmtpServer;
  readonly from: string;
  /** Mails that one connection carries before another one is made. */
  readonly maxMessages: number;
  /** null: mails are not signed. */
  readonly dkim: DkimKey | null;
  /** `digest`; null: each delivery is a mail. */
  readonly gathering: Gathering | null;
}

export interface SmtpServer {
  readonly host: string;
  /** null: 465 with `secure`, else 587. */
  readonly port: number | null;
  /** TLS from the first byte. */
  readonly secure: boolean;
  /**
   * - `required`: nothing is sent without it
   * - `offered`: when the server offers it, it must succeed
   * - `off`: never
   */
  readonly starttls: 'required' | 'offered' | 'off';
  /** null: no login. `method` null: the best that the server offers. */
  readonly auth: { readonly user: string; readonly pass: string; readonly method: string | null } | null;
  readonly tls: {
    /** PEM; null: those that Node trusts. */
    readonly ca: string | null;
    /** PEM: this side's own certificate. */
    readonly cert: string | null;
    readonly key: string | null;
    /** null: the host. */
    readonly serverName: string | null;
    readonly rejectUnauthorized: boolean;
  };
  /** What it says in EHLO; null: the name of this host. */
  readonly name: string | null;
}

export interface DkimKey {
  readonly domain: string;
  readonly selector: string;
  /** RSA, PEM. */
  readonly privateKey: string;
}

export interface SlackDestination extends DestinationCommon {
  readonly kind: 'slack';
  readonly auth:
    | {
        readonly kind: 'token';
        readonly token: string /** API root, for tests and proxies. */;
        readonly apiUrl: string | null;
      }
    | { readonly kind: 'incoming'; readonly webhookUrl: string };
}

/** The process's own log: there is one, and nobody declares it. */
export interface LogDestination extends DestinationCommon {
  readonly kind: 'log';
}

export interface SqlDestination extends DestinationCommon {
  readonly kind: 'sql';
  /** postgres:// URL; null: the observed database, where a statement commits together with its settlement. */
  readonly database: string | null;
  /** The role its statements run as; null: the one that logs in. */
  readonly role: string | null;
}

export interface ModuleDestination extends DestinationCommon {
  readonly kind: 'module';
  readonly module: ModuleReference;
  /** Options for the module; may hold secrets. */
  readonly with: unknown;
}

export type Destination =
  | WebhookDestination
  | EmailDestination
  | SlackDestination
  | LogDestination
  | SqlDestination
  | ModuleDestination;
export type DestinationKind = Destination['kind'];

interface ActionCommon {
  /** Unique within its observer. */
  readonly name: string;
  readonly position: Position;
  readonly destination: Destination;
  /** The action's own, or its destination's. */
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly outcomes: OutcomePolicy;
}

export interface WebhookAction extends ActionCommon {
  readonly kind: 'webhook';
  /** The action's own, or its destination's. */
  readonly method: WebhookMethod;
  readonly format: WebhookFormat;
  /** null: the event envelope, in a CloudEvent its `data`; in a form, see `form`. */
  readonly body: Template | null;
  /** The body of `format: form`. */
  readonly form: readonly Parameter[];
  /** The destination's and the action's own. */
  readonly query: readonly Parameter[];
  readonly headers: Readonly<Record<string, Template>>;
}

export interface EmailAction extends ActionCommon {
  readonly kind: 'email';
  readonly to: Template;
  readonly cc: Template | null;
  readonly bcc: Template | null;
  readonly replyTo: Template | null;
  readonly subject: Template;
  readonly text: Template | null;
  /** Values are HTML-escaped. */
  readonly html: Template | null;
  readonly attachments: readonly AttachmentTemplate[];
  /** By name as written. */
  readonly headers: Readonly<Record<string, Template>>;
  readonly priority: 'high' | 'normal' | 'low';
  /** Mails with the same value are one conversation. */
  readonly threadKey: Template | null;
  readonly unsubscribe: Unsubscribe | null;
  /** Of a mail that gathers several deliveries; null: nothing is said. */
  readonly digest: DigestTemplates | null;
}

export interface DigestTemplates {
  /** Only mails with the same value become one; null: all to the same recipients. */
  readonly key: Template | null;
  /** What stands before the items, as text and as HTML; of the oldest delivery. */
  readonly intro: { readonly text: Template; readonly html: Template } | null;
}

export interface AttachmentTemplate {
  readonly filename: Template;
  /** A text as it is, anything else as JSON; null: it is left out. */
  readonly content: Template;
  /** null: by the name. */
  readonly contentType: Template | null;
  /** How a text holds the content; `hex` also as PostgreSQL writes a bytea. */
  readonly encoding: 'text' | 'base64' | 'hex';
}

/** List-Unsubscribe: one of the two at least. */
export interface Unsubscribe {
  /** https. */
  readonly url: Template | null;
  readonly mailto: Template | null;
  /** Whether a POST to the URL unsubscribes without a question (RFC 8058). */
  readonly oneClick: boolean;
}

export interface SlackAction extends ActionCommon {
  readonly kind: 'slack';
  /** null for an incoming webhook, which has its channel built in. */
  readonly channel: Template | null;
  /** Values are mrkdwn-escaped. */
  readonly text: Template | null;
  /** Only what Slack reads as mrkdwn in them is escaped. */
  readonly blocks: Template | null;
  readonly attachments: Template | null;
  /** Shown instead of the app's own name and icon; need the scope chat:write.customize. */
  readonly username: Template | null;
  readonly iconEmoji: Template | null;
  readonly iconUrl: Template | null;
  /** null: as Slack does by itself. */
  readonly unfurlLinks: boolean | null;
  readonly unfurlMedia: boolean | null;
  /**
   * The first message to a channel with a key is a message like others; what comes later with the same key replies in its thread,
   * or edits it. A key that renders to nothing: a message by itself.
   */
  readonly follows: { readonly as: 'reply' | 'edit'; readonly key: Template } | null;
  /** A reply is shown in the channel, too. */
  readonly replyBroadcast: boolean;
}

export interface LogAction extends ActionCommon {
  readonly kind: 'log';
  readonly level: LogLevel;
  readonly message: Template;
  readonly fields: Template | null;
}

export interface SqlAction extends ActionCommon {
  readonly kind: 'sql';
  readonly statement: StatementTemplate;
}

export interface ModuleAction extends ActionCommon {
  readonly kind: 'module';
  /** null: the event envelope. */
  readonly input: Template | null;
}

export type Action = WebhookAction | EmailAction | SlackAction | LogAction | SqlAction | ModuleAction;

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

export interface TracingSettings {
  /** Where a collector takes OTLP over HTTP: `http://127.0.0.1:4318/v1/traces`. */
  readonly endpoint: string;
  /** Of the requests to it. Values may be secret. */
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  /** Share of the traces begun here that are reported: 0 … 1. Those that the application began say so themselves. */
  readonly sample: number;
}

export interface Settings {
  /** host:port of the HTTP server; null: off. */
  readonly listen: { readonly host: string; readonly port: number } | null;
  readonly pollIntervalMs: number;
  readonly instanceTimeoutMs: number;
  readonly retention: RetentionPolicy;
  readonly environment: string | null;
  /** Where spans go; null: nowhere. */
  readonly opentelemetry: TracingSettings | null;
  /** How many `sql` actions may follow from one another, each by the events of the one before. */
  readonly maxDepth: number;
  /** Which attempts the history keeps. */
  readonly attempts: 'all' | 'failures' | 'none';
  readonly tenants: TenantQuotas;
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
