import type { Template } from './expression.ts';

/** What a webhook's request looks like, and who it is sent to: beside its URL, everything that the file can say of it. */

export const webhookMethods = ['POST', 'PUT', 'PATCH', 'DELETE', 'GET'] as const;
export type WebhookMethod = (typeof webhookMethods)[number];

/**
 * - `json`: the body's template, or the event envelope
 * - `cloudevents`, `cloudevents_binary`: CloudEvents 1.0, with the attributes in the body or in `ce-` headers
 * - `form`: application/x-www-form-urlencoded
 * - `text`: text/plain
 */
export const webhookFormats = ['json', 'cloudevents', 'cloudevents_binary', 'form', 'text'] as const;
export type WebhookFormat = (typeof webhookFormats)[number];

/** One `name=value`, of a form or of a URL's query. */
export interface Parameter {
  readonly name: string;
  readonly value: Template;
  /** As written, to tell two configurations apart. */
  readonly source: string;
}

/** PEM texts. */
export interface TlsOptions {
  /** Authorities to trust instead of the system's; null: the system's. */
  readonly ca: string | null;
  /** The client certificate with its chain, for receivers that demand one. */
  readonly cert: string | null;
  readonly key: string | null;
  readonly passphrase: string | null;
  /** Whose certificate is asked for and checked, when that is not the URL's host. */
  readonly serverName: string | null;
}

/** OAuth 2.0 client credentials, RFC 6749 4.4. */
export interface OAuth2Client {
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Separated by spaces. */
  readonly scope: string | null;
  readonly audience: string | null;
  /** Where id and secret stand in the request for a token: `client_secret_basic` or `client_secret_post`. */
  readonly clientAuth: 'basic' | 'post';
}

/** Which addresses may be connected to. `deny` wins over `allow`, and `allow` over the guard's own ranges. */
export interface AddressPolicy {
  /** `auto`: on where the host of the URL comes from the event. */
  readonly guard: 'auto' | 'on' | 'off';
  /** Host names, `*.example.com`, addresses and CIDR ranges that the guard lets through. */
  readonly allow: readonly string[];
  /** The same, never connected to; also where the guard is off. */
  readonly deny: readonly string[];
}
