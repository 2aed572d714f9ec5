import { STATUS_CODES } from 'node:http';
import type { OAuth2Client } from '../../domain/webhook.ts';
import { Deadline } from '../deadline.ts';
import { networkFault } from '../network-fault.ts';
import { userAgent } from '../user-agent.ts';
import type { HttpReply, HttpRequest } from './exchange.ts';
import { HttpClient, type HttpClientOptions } from './http-client.ts';
import { retryAfterOf } from './http-outcome.ts';

export interface AccessToken {
  readonly value: string;
  /** On the clock of `performance.now()`. */
  readonly obtainedAt: number;
  /** From here on a new one is asked for while this one is still used. */
  readonly refreshAt: number;
  readonly expiresAt: number;
}

/** Why there is no token. */
export interface TokenFailure {
  readonly message: string;
  readonly retryAfterMs: number | null;
}

export interface AccessTokensOptions extends Omit<HttpClientOptions, 'connections'> {
  /** For a request to the token endpoint. Milliseconds. */
  readonly timeoutMs: number;
}

/** For answers without `expires_in`, which RFC 6749 only recommends. Milliseconds. */
const assumedLifetimeMs = 300_000;
const longestLifetimeMs = 86_400_000;
/** A failure stands for as long as this: an endpoint that is down must not get a request for every attempt. */
const failureStandsMs = 1_000;
const answerBytes = 64 * 1024;

/**
 * Access tokens by OAuth 2.0 client credentials: one at a time, kept until it expires, and asked for by one request
 * however many attempts wait for it. A token that is about to expire is replaced while it is still used.
 */
export class AccessTokens {
  readonly #client: OAuth2Client;
  readonly #timeoutMs: number;
  readonly #url: URL;
  readonly #http: HttpClient;
  readonly #request: HttpRequest;
  #token: AccessToken | null = null;
  #failure: { readonly failure: TokenFailure; readonly until: number } | null = null;
  #refreshing: Promise<AccessToken | TokenFailure> | null = null;

  constructor(client: OAuth2Client, { timeoutMs, ...options }: AccessTokensOptions) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#url = new URL(client.tokenUrl);
    this.#http = new HttpClient(this.#url, { ...options, connections: 1 });
    this.#request = this.#tokenRequest();
  }

  /** A token that is good now. Never rejects, and never outlives the deadline. */
  obtain(deadline: Deadline): Promise<AccessToken | TokenFailure | 'timed-out'> {
    const now = performance.now();
    const token = this.#token;
    if (token !== null && now < token.expiresAt) {
      if (now >= token.refreshAt && !this.#hasJustFailed(now)) void this.#refresh();
      return Promise.resolve(token);
    }
    if (this.#failure !== null && this.#hasJustFailed(now)) return Promise.resolve(this.#failure.failure);
    if (deadline.passed) return Promise.resolve('timed-out');
    const refreshing = this.#refresh();
    return new Promise((resolve) => {
      const watcher = { deadlinePassed: () => resolve('timed-out') };
      deadline.watch(watcher);
      void refreshing.then((result) => {
        deadline.unwatch(watcher);
        resolve(result);
      });
    });
  }

  /** A receiver refused it. Only the token that is kept goes: another attempt may have replaced it already. */
  drop(token: AccessToken): void {
    if (this.#token === token) this.#token = null;
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #hasJustFailed(now: number): boolean {
    return this.#failure !== null && now < this.#failure.until;
  }

  #refresh(): Promise<AccessToken | TokenFailure> {
    this.#refreshing ??= this.#ask().then((result) => {
      this.#refreshing = null;
      if ('value' in result) [this.#token, this.#failure] = [result, null];
      else this.#failure = { failure: result, until: performance.now() + failureStandsMs };
      return result;
    });
    return this.#refreshing;
  }

  async #ask(): Promise<AccessToken | TokenFailure> {
    // Its own: the attempt that happened to ask first may have next to no time left, and others wait too.
    const deadline = new Deadline(this.#timeoutMs);
    const reply = await this.#http.request(this.#request, deadline);
    deadline.clear();
    return this.#read(reply);
  }

  #tokenRequest(): HttpRequest {
    const { clientId, clientSecret, scope, audience, clientAuth } = this.#client;
    const parameters = new URLSearchParams({ grant_type: 'client_credentials' });
    if (scope !== null) parameters.set('scope', scope);
    if (audience !== null) parameters.set('audience', audience);
    const headers: Record<string, string> = {
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded',
      'user-agent': userAgent,
    };
    if (clientAuth === 'basic') headers.authorization = `Basic ${basicPair(clientId, clientSecret)}`;
    else {
      parameters.set('client_id', clientId);
      parameters.set('client_secret', clientSecret);
    }
    const body = Buffer.from(parameters.toString());
    const path = this.#url.pathname + this.#url.search;
    return { method: 'POST', path, headers, body, keepBytes: answerBytes };
  }

  #read(reply: HttpReply): AccessToken | TokenFailure {
    const { end, status, error } = reply;
    if (end === 'timed-out') return this.#failed('did not answer in time');
    if (end === 'failed' || status === null) return this.#failed(`was not reached: ${networkFault(error).reason}`);
    const answer = parseAnswer(reply.body);
    if (status < 200 || status >= 300) {
      const code = typeof answer.error === 'string' && /^[a-z_]{1,60}$/.test(answer.error) ? `: ${answer.error}` : '';
      return this.#failed(`answered ${status} ${STATUS_CODES[status] ?? ''}`.trim() + code, retryAfterOf(reply));
    }
    const { access_token: value, token_type: type = 'bearer', expires_in: expiresIn } = answer;
    if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value))
      return this.#failed('answered without an access_token');
    if (String(type).toLowerCase() !== 'bearer') return this.#failed('gave a token that is not of type Bearer');
    return tokenOf(value, Number(expiresIn));
  }

  #failed(what: string, retryAfterMs: number | null = null): TokenFailure {
    return { message: `no access token: ${this.#url.host} ${what}`, retryAfterMs };
  }
}

function tokenOf(value: string, expiresInSeconds: number): AccessToken {
  const now = performance.now();
  const lifetimeMs = expiresInSeconds > 0 ? Math.min(expiresInSeconds * 1000, longestLifetimeMs) : assumedLifetimeMs;
  // A minute ahead, or a fifth of a short life.
  const aheadMs = Math.min(60_000, lifetimeMs / 5);
  return { value, obtainedAt: now, refreshAt: now + lifetimeMs - aheadMs, expiresAt: now + lifetimeMs };
}

/** RFC 6749 2.3.1: both are form-encoded before they are joined. */
export function basicPair(clientId: string, clientSecret: string): string {
  const encoded = (text: string) => new URLSearchParams({ _: text }).toString().slice(2);
  return Buffer.from(`${encoded(clientId)}:${encoded(clientSecret)}`).toString('base64');
}

function parseAnswer(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
