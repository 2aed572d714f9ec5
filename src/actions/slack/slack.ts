import { ExpressionError, type Scope } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { SlackAction, SlackDestination } from '../../domain/rules.ts';
import type { ActionType, AttemptContext, DestinationClient } from '../contract.ts';
import { HttpClient } from '../http/http-client.ts';
import { internalFault, timedOut } from '../outcomes.ts';
import { createRedactor, describeJson, describeText, redacted, secretsOfUrl } from '../redaction.ts';
import { userAgent } from '../user-agent.ts';
import type { SlackRequest } from './request.ts';
import { incomingWebhookOutcome } from './slack-outcome.ts';
import { postMessage } from './web-api.ts';

/** A Slack message: `chat.postMessage` with a token, or a post to an incoming webhook. */
export const slack: ActionType<SlackDestination, SlackAction, SlackRequest> = {
  kind: 'slack',
  open: (destination) => new SlackClient(destination),
};

const defaultApiUrl = 'https://slack.com/api/';

class SlackClient implements DestinationClient<SlackAction, SlackRequest> {
  readonly #auth: SlackDestination['auth'];
  readonly #url: URL;
  readonly #http: HttpClient;
  readonly #redact: (text: string) => string;

  constructor(destination: SlackDestination) {
    const { auth } = destination;
    this.#auth = auth;
    this.#url = new URL(auth.kind === 'token' ? (auth.apiUrl ?? defaultApiUrl) : auth.webhookUrl);
    // Of an incoming webhook the path is the secret.
    const secret = auth.kind === 'token' ? auth.token : this.#url.pathname;
    this.#redact = createRedactor([secret, ...secret.split('/'), ...secretsOfUrl(this.#url)]);
    this.#http = new HttpClient(this.#url, {
      connections: destination.concurrency,
      connectTimeoutMs: destination.timeoutMs,
    });
  }

  render(action: SlackAction, scope: Scope, messageId: string): SlackRequest {
    const channel = action.channel?.renderText(scope).trim() ?? null;
    if (this.#auth.kind === 'token' && (channel === null || channel === '')) {
      throw new ExpressionError('channel: there is no channel', 'channel');
    }
    const text = action.text?.renderText(scope) ?? null;
    const blocks = action.blocks?.renderJson(scope) ?? null;
    if (blocks !== null && !blocks.startsWith('[')) throw new ExpressionError('blocks: not a list of blocks', 'blocks');
    if (blocks === null && (text === null || text === ''))
      throw new ExpressionError('text: the message is empty', 'text');
    return { messageId, eventUid: scope.record.uid, channel, text, blocks };
  }

  async send(request: SlackRequest, attempt: AttemptContext): Promise<Outcome> {
    const { host } = this.#http;
    if (attempt.deadline.passed) return timedOut(host, attempt);
    try {
      return this.#auth.kind === 'token'
        ? await postMessage(this.#http, this.#url, this.#auth.token, request, attempt, this.#redact)
        : await this.#postToIncomingWebhook(request, attempt);
    } catch (error) {
      return internalFault(host, error, this.#redact);
    }
  }

  describe({ messageId, channel, text, blocks }: SlackRequest): unknown {
    const incoming = this.#auth.kind === 'incoming';
    return {
      method: incoming ? 'incoming webhook' : 'chat.postMessage',
      url: incoming ? `${this.#url.origin}/${redacted}` : this.#url.origin + this.#url.pathname,
      messageId,
      ...(channel !== null && { channel }),
      ...(text !== null && { text: describeText(text) }),
      ...(blocks !== null && { blocks: describeJson(blocks) }),
    };
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  async #postToIncomingWebhook({ text, blocks }: SlackRequest, attempt: AttemptContext): Promise<Outcome> {
    const members = [
      ...(text === null ? [] : [`"text":${JSON.stringify(text)}`]),
      ...(blocks === null ? [] : [`"blocks":${blocks}`]),
    ];
    const headers = { 'content-type': 'application/json; charset=utf-8', 'user-agent': userAgent };
    const body = Buffer.from(`{${members.join(',')}}`);
    const path = this.#url.pathname + this.#url.search;
    const reply = await this.#http.post({ path, headers, body, keepBytes: 8 * 1024 }, attempt.deadline);
    return incomingWebhookOutcome(reply, this.#http.host, attempt, this.#redact);
  }
}
