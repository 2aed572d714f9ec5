import type { RateLimit } from './destinations.ts';
import type { RetentionPolicy } from './retention.ts';

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
