import { commonMessageId } from '../../domain/delivery.ts';
import type { EventRecord } from '../../domain/event.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { WebhookAction } from '../../domain/rules.ts';
import type { Combining } from '../contract.ts';
import { excerptOf } from '../excerpt.ts';
import { rejected, retry } from '../outcomes.ts';
import type { Content } from './content.ts';
import type { WebhookRequest } from './webhook.ts';

/*
 * A batch is a JSON array of what each request would have had as its body alone. Its id is made of those of its items, so that the
 * same items in the same order are the same request, to the byte. After a crash they may come in other company: receivers drop
 * repeats by the id of the item.
 */

/** What an answer may call an item by, besides its place. */
export interface BatchItem {
  readonly webhookId: string;
  readonly eventId: string;
}

/** Of an answer that says what became of each item: a thousand refusals with a reason. */
export const keptAnswerBytes = 512 * 1024;
const longestReason = 500;

/** What is ours to shape has the item's id in it; a body that is written in the file stays as it is. */
export function asItem(content: Content, { format, body }: WebhookAction, messageId: string): Content {
  const member = format === 'cloudevents' ? 'webhookid' : body === null ? 'webhook_id' : null;
  if (member === null) return content;
  return { ...content, body: `{"${member}":${JSON.stringify(messageId)},${content.body.slice(1)}` };
}

export const itemOf = ({ uid }: EventRecord, webhookId: string): BatchItem => ({ webhookId, eventId: uid });

export const batching: Combining<WebhookRequest> = {
  keyOf: ({ method, url, type, headers }) => JSON.stringify([method, url?.href ?? null, type, headers]),
  sizeOf: ({ body }) => Buffer.byteLength(body) + 1,
  combine(requests) {
    const [first] = requests;
    if (first === undefined) throw new Error('a batch of nothing');
    const isCloudEvent = first.type?.startsWith('application/cloudevents+json') ?? false;
    const type = isCloudEvent ? 'application/cloudevents-batch+json; charset=utf-8' : first.type;
    return {
      ...first,
      messageId: commonMessageId(requests.map(({ messageId }) => messageId)),
      type,
      headers: isCloudEvent && type !== null ? { ...first.headers, 'content-type': type } : first.headers,
      body: `[${requests.map(({ body }) => body).join(',')}]`,
      items: requests.flatMap(({ items }) => items ?? []),
    };
  },
};

/**
 * `{ "failed": [{ "id": …, "index": …, "error": …, "retry": false }] }`: who is not named succeeded. An empty answer names nobody.
 * One that can't be read, or names somebody else, may have meant any of them: then all of them failed.
 */
export function outcomeOfItems(
  outcome: Outcome,
  answer: Buffer,
  items: readonly BatchItem[],
  host: string,
  redact: (text: string) => string,
): Outcome {
  const failed = readFailed(answer);
  const positions = failed?.map((failure) => positionOf(failure, items));
  if (failed === null || positions?.includes(-1)) {
    const why = failed === null ? 'is not { "failed": [...] }' : 'names items that are not in the batch';
    const message = `the answer of ${host} ${why}, so nobody knows what became of the items (\`items: true\`)`;
    const { status, responseExcerpt } = outcome;
    const failure = { errorClass: 'protocol', message, status, responseExcerpt };
    return retry(failure, { names: ['protocol', 'network'] });
  }
  const failedItems = new Map(
    failed.map((one, i) => [positions?.[i] ?? -1, outcomeOfItem(one, outcome, host, redact)]),
  );
  return failedItems.size === 0 ? outcome : { ...outcome, failedItems };
}

function readFailed(answer: Buffer): readonly Record<string, unknown>[] | null {
  const text = answer.toString().trim();
  if (text === '') return [];
  try {
    const parsed: unknown = JSON.parse(text);
    if (!isObject(parsed)) return null;
    const failed = parsed.failed ?? [];
    return Array.isArray(failed) && failed.every(isObject) ? failed : null;
  } catch {
    return null;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

function positionOf({ id, index }: Record<string, unknown>, items: readonly BatchItem[]): number {
  if (id === undefined) return typeof index === 'number' && items[index] !== undefined ? index : -1;
  return items.findIndex(({ webhookId, eventId }) => webhookId === id || eventId === id);
}

function outcomeOfItem(
  failure: Record<string, unknown>,
  { status }: Outcome,
  host: string,
  redact: (text: string) => string,
): Outcome {
  const { error } = failure;
  const reason = typeof error === 'string' ? redact(error).slice(0, longestReason) : 'without a reason';
  const message = `${host} took the batch, but not this item: ${reason}`;
  const facts = {
    errorClass: 'item_failed',
    message,
    status,
    responseExcerpt: excerptOf(Buffer.from(JSON.stringify(failure)), redact),
  };
  return failure.retry === false ? rejected(facts) : retry(facts);
}
