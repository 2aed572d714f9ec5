import type { FetchFunction, LogLevel, WebAPIPlatformError, WebClientOptions } from '@slack/web-api';
import type { Outcome } from '../../domain/outcome.ts';
import type { AttemptContext } from '../contract.ts';
import type { HttpReply } from '../http/exchange.ts';
import type { HttpClient } from '../http/http-client.ts';
import { userAgent } from '../user-agent.ts';
import { slackOutcome } from './slack-outcome.ts';

type FetchResponse = Awaited<ReturnType<FetchFunction>>;

/** Slack answers with the whole message: 40,000 characters of text, up to six bytes each, and the blocks. */
const answerBytes = 1024 * 1024;

export interface SlackCall {
  readonly method: 'chat.postMessage' | 'chat.update';
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** What became of a call, and what Slack answered. */
export interface SlackAnswer {
  readonly outcome: Outcome;
  /** null: it refused, or did not answer. */
  readonly answer: unknown;
}

/**
 * One call of a method.
 *
 * A WebClient for every attempt, because it takes a `fetch` but no signal: this one's `fetch` posts over the destination's
 * connections under the attempt's deadline. Making one takes 0.1 ms, and Slack takes a message a second. One shared client
 * raced against the signal would leave the cut attempt's request running.
 */
export async function callSlack(
  http: HttpClient,
  apiUrl: URL,
  token: string,
  call: SlackCall,
  attempt: AttemptContext,
  redact: (text: string) => string,
): Promise<SlackAnswer> {
  const sent: { reply: HttpReply | null } = { reply: null };
  const fetch: FetchFunction = async (url, init) => {
    const { pathname, search } = new URL(url);
    const headers = { ...init?.headers, 'user-agent': userAgent };
    const body = Buffer.from(String(init?.body));
    const path = pathname + search;
    const request = { method: 'POST', path, headers, body, keepBytes: answerBytes } as const;
    sent.reply = await http.request(request, attempt.deadline);
    return toFetchResponse(sent.reply, String(url));
  };
  // Loaded for the first message: it takes longer than to read the rules.
  const { WebClient } = await import('@slack/web-api');
  const client = new WebClient(token, {
    slackApiUrl: apiUrl.href,
    fetch,
    logger: silent,
    // Both, or it sleeps on a 429 instead of reporting it.
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
  });
  const result = await client.apiCall(call.method, { ...call.arguments }).then(
    (answer) => ({ answer, failure: null }),
    (error: unknown) => ({ answer: null, failure: { error } }),
  );
  // It failed before it sent anything.
  if (sent.reply === null) throw result.failure?.error ?? new Error('Slack’s client sent nothing');
  const code = result.failure && codeOf(result.failure.error);
  return { outcome: slackOutcome(sent.reply, code, http.host, attempt, redact), answer: result.answer };
}

/** '' for a failure without a code. */
function codeOf(error: unknown): string {
  return isRefusal(error) ? error.data.error : '';
}

/** By its code, as its class comes with the library. */
function isRefusal(error: unknown): error is WebAPIPlatformError {
  return error instanceof Error && 'code' in error && error.code === 'slack_webapi_platform_error';
}

function toFetchResponse(reply: HttpReply, url: string): FetchResponse {
  const { status } = reply;
  if (reply.end !== 'complete' || status === null) throw reply.error ?? new Error('deadline');
  const entries = Object.entries(reply.headers).map(([name, value]): [string, string] => [name, String(value ?? '')]);
  const text = reply.body.toString('utf8');
  return {
    ok: status >= 200 && status < 300,
    status,
    statusText: '',
    url,
    headers: { get: (name) => new Map(entries).get(name.toLowerCase()) ?? null, entries: () => entries },
    arrayBuffer: async () => new Uint8Array(reply.body).buffer,
    json: async () => JSON.parse(text) as unknown,
    text: async () => text,
  };
}

const nothing = () => {};

/** Its default logger prints to the console what the outcome says already. */
const silent: NonNullable<WebClientOptions['logger']> = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  setLevel: nothing,
  getLevel: () => 'error' as LogLevel,
  setName: nothing,
};
