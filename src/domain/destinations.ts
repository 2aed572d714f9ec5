import type { ModuleReference } from './custom-action.ts';
import type { UrlTemplate } from './expression.ts';
import type { Gathering } from './gathering.ts';
import type { OutcomePolicy } from './outcome-policy.ts';
import type { Position } from './position.ts';
import type { RetryPolicy } from './retry.ts';
import type { AddressPolicy, OAuth2Client, Parameter, TlsOptions, WebhookFormat, WebhookMethod } from './webhook.ts';

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

export interface DestinationCommon {
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
