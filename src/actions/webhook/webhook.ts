import { UserError } from '../../domain/errors.ts';
import type { Scope } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { WebhookAction, WebhookDestination } from '../../domain/rules.ts';
import { eventEnvelope } from '../../expression/index.ts';
import type { ActionType, AttemptContext, DestinationClient } from '../contract.ts';
import { HttpClient } from '../http/http-client.ts';
import { httpOutcome } from '../http/http-outcome.ts';
import { internalFault, timedOut } from '../outcomes.ts';
import { createRedactor, describeJson, redacted, redactUrl, secretsOfUrl } from '../redaction.ts';
import { userAgent } from '../user-agent.ts';
import { describeHeaderValue, headerValue, reservedHeaders } from './headers.ts';
import { createSigner, type Signer } from './signature.ts';

export interface WebhookRequest {
  readonly messageId: string;
  /** JSON. */
  readonly body: string;
  /** The action's own headers, by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
}

/** A POST with a Standard Webhooks signature. */
export const webhook: ActionType<WebhookDestination, WebhookAction, WebhookRequest> = {
  kind: 'webhook',
  open: (destination) => new WebhookClient(destination),
};

/** Of an answer: more than its excerpt, so that redaction doesn't eat into that. */
const keepBytes = 8 * 1024;

class WebhookClient implements DestinationClient<WebhookAction, WebhookRequest> {
  readonly #http: HttpClient;
  readonly #url: URL;
  readonly #path: string;
  readonly #headers: Readonly<Record<string, string>>;
  /** The same as names and values in turn. */
  readonly #headerList: readonly string[];
  readonly #staticNames: readonly string[];
  readonly #signer: Signer | null;
  readonly #redact: (text: string) => string;

  constructor(destination: WebhookDestination) {
    this.#url = new URL(destination.url);
    this.#path = this.#url.pathname + this.#url.search;
    this.#staticNames = Object.keys(destination.headers);
    this.#headers = {
      'content-type': 'application/json',
      'user-agent': userAgent,
      ...basicAuthorization(this.#url),
      ...usableHeaders(Object.entries(destination.headers)),
    };
    this.#headerList = Object.entries(this.#headers).flat();
    this.#signer = signerOf(destination);
    this.#redact = createRedactor(secretsOf(destination, this.#url));
    this.#http = new HttpClient(this.#url, {
      connections: destination.concurrency,
      connectTimeoutMs: destination.timeoutMs,
    });
  }

  render(action: WebhookAction, scope: Scope, messageId: string): WebhookRequest {
    const body = action.body === null ? eventEnvelope(scope.record) : action.body.renderJson(scope);
    const rendered = Object.entries(action.headers).map(([name, value]) => [name, value.renderText(scope)] as const);
    return { messageId, body, headers: usableHeaders(rendered) };
  }

  async send(request: WebhookRequest, attempt: AttemptContext): Promise<Outcome> {
    const { host } = this.#http;
    if (attempt.deadline.passed) return timedOut(host, attempt);
    try {
      const body = Buffer.from(request.body);
      const post = { path: this.#path, headers: this.#signedHeaders(request, body), body, keepBytes };
      return httpOutcome(await this.#http.post(post, attempt.deadline), host, attempt, this.#redact);
    } catch (error) {
      return internalFault(host, error, this.#redact);
    }
  }

  describe(request: WebhookRequest): unknown {
    const headers: Record<string, string> = { 'webhook-id': request.messageId };
    for (const name of this.#staticNames) headers[name] = redacted;
    for (const [name, value] of Object.entries(request.headers)) {
      headers[name] = this.#redact(describeHeaderValue(name, value));
    }
    return { method: 'POST', url: redactUrl(this.#url), headers, body: describeJson(request.body) };
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** Signed anew for every attempt: a receiver refuses old timestamps. */
  #signedHeaders({ messageId, headers }: WebhookRequest, body: Buffer): string[] {
    const timestamp = Math.floor(Date.now() / 1000);
    // Most actions have no headers of their own, and merging objects for each request is a tenth of its work.
    const others = hasMembers(headers) ? Object.entries({ ...this.#headers, ...headers }).flat() : this.#headerList;
    const list = [...others, 'webhook-id', messageId, 'webhook-timestamp', String(timestamp)];
    if (this.#signer !== null) list.push('webhook-signature', this.#signer.sign(messageId, timestamp, body));
    return list;
  }
}

function hasMembers(object: object): boolean {
  for (const _ in object) return true;
  return false;
}

function usableHeaders(entries: readonly (readonly [string, string])[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of entries) {
    const lowerCase = name.toLowerCase();
    if (!reservedHeaders.has(lowerCase)) headers[lowerCase] = headerValue(value);
  }
  return headers;
}

/** Credentials in the URL mean Basic authentication, as in every HTTP client; undici leaves them out. */
function basicAuthorization(url: URL): Record<string, string> {
  if (url.username === '' && url.password === '') return {};
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

const howToMakeOne = 'make one: echo "whsec_$(openssl rand -base64 32)"';

function signerOf(destination: WebhookDestination): Signer | null {
  try {
    return createSigner(destination.secrets);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError(`destination ${destination.name}: ${reason}  (${howToMakeOne})`, 2);
  }
}

function secretsOf(destination: WebhookDestination, url: URL): string[] {
  const headerValues = Object.values(destination.headers);
  // "Bearer abc" is echoed as "abc" by some receivers.
  const credentials = headerValues.map((value) => value.replace(/^\S+\s+/, ''));
  const authorization = Object.values(basicAuthorization(url)).map((value) => value.replace(/^Basic /, ''));
  const keys = destination.secrets.map((secret) => secret.replace(/^wh(sec|sk)_/, ''));
  return [...destination.secrets, ...keys, ...headerValues, ...credentials, ...authorization, ...secretsOfUrl(url)];
}
