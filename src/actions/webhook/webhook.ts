import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { Scope } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { WebhookAction, WebhookDestination } from '../../domain/rules.ts';
import type { TraceHeaders } from '../../domain/trace.ts';
import type { WebhookMethod } from '../../domain/webhook.ts';
import type { ActionType, AttemptContext, Combining, DestinationClient } from '../contract.ts';
import { type AccessToken, AccessTokens, type TokenFailure } from '../http/access-tokens.ts';
import { createAddressGuard } from '../http/address-guard.ts';
import type { HttpReply } from '../http/exchange.ts';
import { HttpClient } from '../http/http-client.ts';
import { httpOutcome } from '../http/http-outcome.ts';
import { Origins } from '../http/origins.ts';
import { internalFault, retry, timedOut } from '../outcomes.ts';
import { createRedactor, describeJson, describeText, redacted, redactUrl } from '../redaction.ts';
import { asItem, type BatchItem, batching, itemOf, keptAnswerBytes, outcomeOfItems } from './batch.ts';
import { encodeParameters, jsonType, renderContent } from './content.ts';
import { basicAuthorization, secretsOf, signerOf, tlsOf } from './credentials.ts';
import { baseHeaders, describeHeaderValue, hasMembers, usableHeaders } from './headers.ts';
import type { Signer } from './signature.ts';

export interface WebhookRequest {
  readonly messageId: string;
  readonly method: WebhookMethod;
  /** null: that of the destination. */
  readonly url: URL | null;
  /** null: there is no body. */
  readonly type: string | null;
  readonly body: string;
  /** The action's own headers and the format's, by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** What is in it, at a destination with `batch`; null elsewhere. */
  readonly items: readonly BatchItem[] | null;
}

/** An HTTP request with a Standard Webhooks signature. */
export const webhook = {
  kind: 'webhook',
  open: (destination: WebhookDestination) => openWebhook(destination, systemLookup),
} satisfies ActionType<WebhookDestination, WebhookAction, WebhookRequest>;

/** @param lookup resolves host names where the address guard is on */
export function openWebhook(
  destination: WebhookDestination,
  lookup: LookupFunction,
): DestinationClient<WebhookAction, WebhookRequest> {
  return new WebhookClient(destination, lookup);
}

/** Of an answer: more than its excerpt, so that redaction doesn't eat into that. */
const keepBytes = 8 * 1024;
/** Hosts from events whose connections are kept. */
const keptOrigins = 64;

/** Where the requests go: to one origin, or wherever an event says. */
interface Target {
  readonly url: URL;
  readonly path: string;
  readonly http: HttpClient;
}

class WebhookClient implements DestinationClient<WebhookAction, WebhookRequest> {
  readonly #destination: WebhookDestination;
  /** null: the host comes from events. */
  readonly #fixed: Target | null;
  readonly #origins: Origins;
  readonly #headers: Readonly<Record<string, string>>;
  /** With the content type of most requests, as names and values in turn. */
  readonly #jsonHeaders: readonly string[];
  readonly #signer: Signer | null;
  readonly #tokens: AccessTokens | null;
  readonly combining: Combining<WebhookRequest> | null;
  readonly #redact: (text: string) => string;

  constructor(destination: WebhookDestination, lookup: LookupFunction) {
    const { urlTemplate, oauth2, timeoutMs } = destination;
    const url = urlTemplate === null ? new URL(destination.url) : urlOf(urlTemplate.origin);
    const tls = tlsOf(destination);
    const guard = createAddressGuard(destination.addresses, url === null, lookup);
    const options = { connections: destination.concurrency, connectTimeoutMs: timeoutMs, tls, guard };
    this.#destination = destination;
    this.combining = destination.gathering && batching;
    this.#fixed = url && { url, path: url.pathname + url.search, http: new HttpClient(url, options) };
    this.#origins = new Origins(options, keptOrigins);
    this.#headers = { ...baseHeaders, ...basicAuthorization(url), ...usableHeaders(destination.headers, String) };
    this.#jsonHeaders = Object.entries({ 'content-type': jsonType, ...this.#headers }).flat();
    this.#signer = signerOf(destination);
    this.#tokens =
      oauth2 &&
      new AccessTokens(oauth2, { timeoutMs, connectTimeoutMs: timeoutMs, tls: tlsOf(destination, 'token endpoint') });
    this.#redact = createRedactor(secretsOf(destination, url));
  }

  render(action: WebhookAction, scope: Scope, messageId: string): WebhookRequest {
    const content = renderContent(action, scope);
    const isItem = this.combining !== null;
    const { type, body, headers } = isItem ? asItem(content, action, messageId) : content;
    const own = hasMembers(action.headers)
      ? usableHeaders(action.headers, (value) => value.renderText(scope))
      : headers;
    return {
      messageId,
      method: action.method,
      url: this.#renderUrl(action, scope),
      type,
      body,
      headers: own === headers ? own : { ...own, ...headers },
      items: isItem ? [itemOf(scope.record, messageId)] : null,
    };
  }

  async send(request: WebhookRequest, attempt: AttemptContext): Promise<Outcome> {
    const target = this.#targetOf(request.url);
    const { host } = target.http;
    if (attempt.deadline.passed) return timedOut(host, attempt);
    try {
      const body = Buffer.from(request.body);
      if (this.#tokens !== null) return await this.#sendWithToken(this.#tokens, target, request, body, attempt);
      const reply = await this.#exchange(target, request, body, attempt, null);
      return this.#outcomeOf(reply, host, request, attempt, this.#redact);
    } catch (error) {
      return internalFault(host, error, this.#redact);
    }
  }

  describe(request: WebhookRequest): unknown {
    const headers: Record<string, string> = { 'webhook-id': request.messageId };
    for (const name of Object.keys(this.#destination.headers)) headers[name] = redacted;
    for (const [name, value] of Object.entries(request.headers)) {
      headers[name] = this.#redact(describeHeaderValue(name, value));
    }
    const url = redactUrl(request.url ?? new URL(this.#destination.url));
    const described = { method: request.method, url, headers };
    if (request.type === null) return described;
    const body = request.type.includes('json') ? describeJson(request.body) : describeText(request.body);
    return { ...described, body };
  }

  async close(): Promise<void> {
    await Promise.all([this.#fixed?.http.close(), this.#origins.close(), this.#tokens?.close()]);
  }

  /** null: the destination's own, whole. */
  #renderUrl({ query }: WebhookAction, scope: Scope): URL | null {
    const { url, urlTemplate } = this.#destination;
    if (urlTemplate === null && query.length === 0) return null;
    const rendered = urlTemplate?.render(scope) ?? new URL(url);
    if (query.length > 0) {
      rendered.search += `${rendered.search === '' ? '?' : '&'}${encodeParameters(query, scope)}`;
    }
    return rendered;
  }

  #targetOf(url: URL | null): Target {
    const fixed = this.#fixed;
    if (url === null) {
      if (fixed === null) throw new Error('a request without a URL');
      return fixed;
    }
    return { url, path: url.pathname + url.search, http: fixed?.http ?? this.#origins.clientFor(url) };
  }

  /** A token that was obtained before may have been revoked since: a 401 is answered once, with a new one. */
  async #sendWithToken(
    tokens: AccessTokens,
    target: Target,
    request: WebhookRequest,
    body: Buffer,
    attempt: AttemptContext,
  ): Promise<Outcome> {
    const { host } = target.http;
    const begun = performance.now();
    for (;;) {
      const token = await tokens.obtain(attempt.deadline);
      if (token === 'timed-out')
        return noToken({ message: `no access token within the attempt’s time`, retryAfterMs: null });
      if (!('value' in token)) return noToken(token);
      const reply = await this.#exchange(target, request, body, attempt, token);
      if (reply.status === 401) tokens.drop(token);
      const isFresh = token.obtainedAt >= begun;
      if (reply.status === 401 && !isFresh && !attempt.deadline.passed) continue;
      const redact = (text: string) => this.#redact(text).replaceAll(token.value, redacted);
      return this.#outcomeOf(reply, host, request, attempt, redact);
    }
  }

  #outcomeOf(
    reply: HttpReply,
    host: string,
    { items }: WebhookRequest,
    attempt: AttemptContext,
    redact: (text: string) => string,
  ): Outcome {
    const outcome = httpOutcome(reply, host, attempt, redact);
    if (items === null || outcome.errorClass !== null || !this.#destination.gathering?.perItem) return outcome;
    return outcomeOfItems(outcome, reply.body, items, host, redact);
  }

  #exchange(
    { path, http }: Target,
    request: WebhookRequest,
    body: Buffer,
    { deadline, trace = null, replay = false }: AttemptContext,
    token: AccessToken | null,
  ): Promise<HttpReply> {
    const headers = this.#signedHeaders(request, body, trace);
    if (replay) headers.push('webhook-replay', 'true');
    if (token !== null) headers.push('authorization', `Bearer ${token.value}`);
    const { method, type } = request;
    const kept = this.#destination.gathering?.perItem ? keptAnswerBytes : keepBytes;
    return http.request({ method, path, headers, body: type === null ? null : body, keepBytes: kept }, deadline);
  }

  /** Signed anew for every attempt: a receiver refuses old timestamps. */
  #signedHeaders({ messageId, headers, type }: WebhookRequest, body: Buffer, trace: TraceHeaders | null): string[] {
    const timestamp = Math.floor(Date.now() / 1000);
    // Most actions have no headers of their own, and merging objects for each request is a tenth of its work.
    const others =
      type === jsonType && !hasMembers(headers)
        ? this.#jsonHeaders
        : Object.entries({ ...(type !== null && { 'content-type': type }), ...this.#headers, ...headers }).flat();
    const list = [...others, 'webhook-id', messageId, 'webhook-timestamp', String(timestamp)];
    if (trace !== null && !('traceparent' in headers)) {
      list.push('traceparent', trace.traceparent);
      if (trace.tracestate !== null) list.push('tracestate', trace.tracestate);
    }
    if (this.#signer !== null) list.push('webhook-signature', this.#signer.sign(messageId, timestamp, body));
    return list;
  }
}

function urlOf(origin: string | null): URL | null {
  return origin === null ? null : new URL(origin);
}

function noToken({ message, retryAfterMs }: TokenFailure): Outcome {
  // No status: the receiver has not answered, and its 401 would mean something else.
  return retry({ errorClass: 'oauth2_token', message, status: null, responseExcerpt: null }, { retryAfterMs });
}
