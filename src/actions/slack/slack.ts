import { ExpressionError, type Scope, type Template } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { SlackAction, SlackDestination } from '../../domain/rules.ts';
import type { ActionType, AttemptContext, DestinationClient, NoteKey } from '../contract.ts';
import { HttpClient } from '../http/http-client.ts';
import { internalFault, timedOut } from '../outcomes.ts';
import { createRedactor, describeJson, describeText, redacted, secretsOfUrl } from '../redaction.ts';
import { userAgent } from '../user-agent.ts';
import { toCall } from './message.ts';
import { renderFollows, renderLists, renderOptions } from './render.ts';
import { type SlackRequest, toFirstMessage } from './request.ts';
import { incomingWebhookOutcome, withoutGone } from './slack-outcome.ts';
import { callSlack } from './web-api.ts';

/** A Slack message: `chat.postMessage` with a token, or a post to an incoming webhook. */
export const slack = {
  kind: 'slack',
  open: (destination: SlackDestination) => new SlackClient(destination),
} satisfies ActionType<SlackDestination, SlackAction, SlackRequest>;

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
    const text = (template: Template | null) => template?.renderText(scope) ?? null;
    const channel = text(action.channel)?.trim() ?? null;
    if (this.#auth.kind === 'token' && (channel === null || channel === '')) {
      throw new ExpressionError('channel: there is no channel', 'channel');
    }
    const message = { text: text(action.text), ...renderLists(action, scope) };
    if (message.blocks === null && message.attachments === null && (message.text ?? '') === '')
      throw new ExpressionError('text: the message is empty', 'text');
    return {
      messageId,
      eventUid: scope.record.uid,
      channel,
      ...message,
      options: renderOptions(action, scope),
      follows: renderFollows(action, channel, scope),
      replyBroadcast: action.replyBroadcast,
    };
  }

  noteOf({ follows }: SlackRequest): NoteKey | null {
    return follows?.note ?? null;
  }

  async send(request: SlackRequest, attempt: AttemptContext): Promise<Outcome> {
    const { host } = this.#http;
    if (attempt.deadline.passed) return timedOut(host, attempt);
    try {
      return this.#auth.kind === 'token'
        ? await this.#call(this.#auth.token, request, attempt)
        : await this.#postToIncomingWebhook(request, attempt);
    } catch (error) {
      return internalFault(host, error, this.#redact);
    }
  }

  describe({ messageId, channel, text, blocks, attachments, options, follows }: SlackRequest): unknown {
    const incoming = this.#auth.kind === 'incoming';
    return {
      method: incoming ? 'incoming webhook' : 'chat.postMessage',
      url: incoming ? `${this.#url.origin}/${redacted}` : this.#url.origin + this.#url.pathname,
      messageId,
      ...(channel !== null && { channel }),
      ...(text !== null && { text: describeText(text) }),
      ...(blocks !== null && { blocks: describeJson(blocks) }),
      ...(attachments !== null && { attachments: describeJson(attachments) }),
      ...options,
      ...(follows !== null && { follows: follows.note.key, as: follows.as }),
    };
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** The first message of its key leaves where it is; one that turns out to be gone makes room for another first one. */
  async #call(token: string, request: SlackRequest, attempt: AttemptContext): Promise<Outcome> {
    const first = request.follows === null ? null : toFirstMessage(attempt.note);
    const call = toCall(request, first);
    const { outcome, answer } = await callSlack(this.#http, this.#url, token, call, attempt, this.#redact);
    if (request.follows === null) return outcome;
    if (first !== null) return withoutGone(outcome);
    const sent = toFirstMessage(answer);
    return sent === null ? outcome : { ...outcome, note: sent };
  }

  async #postToIncomingWebhook(request: SlackRequest, attempt: AttemptContext): Promise<Outcome> {
    const { text, blocks, attachments, options } = request;
    const members = [
      ...(text === null ? [] : [`"text":${JSON.stringify(text)}`]),
      ...(blocks === null ? [] : [`"blocks":${blocks}`]),
      ...(attachments === null ? [] : [`"attachments":${attachments}`]),
      ...Object.entries(options).map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`),
    ];
    const headers = { 'content-type': 'application/json; charset=utf-8', 'user-agent': userAgent };
    const body = Buffer.from(`{${members.join(',')}}`);
    const path = this.#url.pathname + this.#url.search;
    const post = { method: 'POST', path, headers, body, keepBytes: 8 * 1024 } as const;
    const reply = await this.#http.request(post, attempt.deadline);
    return incomingWebhookOutcome(reply, this.#http.host, attempt, this.#redact);
  }
}
