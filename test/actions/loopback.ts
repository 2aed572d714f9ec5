import { readFileSync } from 'node:fs';
import type { LookupFunction } from 'node:net';
import { onTestFinished } from 'vitest';
import { openWebhook } from '../../src/actions/webhook/webhook.ts';
import type { WebhookAction, WebhookDestination } from '../../src/domain/rules.ts';
import {
  startWebhookReceiver,
  type WebhookReceiver,
  type WebhookReceiverOptions,
} from '../../src/receivers/webhook-receiver.ts';
import { attempt, type Judged, judged, scopeOf, someMessageId, webhookAction, webhookDestination } from './fixtures.ts';

/** A receiver that closes with the test. */
export async function receive(options: WebhookReceiverOptions = {}): Promise<WebhookReceiver> {
  const receiver = await startWebhookReceiver(options);
  onTestFinished(() => receiver.close());
  return receiver;
}

/** A host name that isn't there is not resolved by accident. */
export const noLookup: LookupFunction = (hostname, _options, callback) =>
  callback(Object.assign(new Error(`${hostname} is not in this test`), { code: 'ENOTFOUND' }), []);

/** A webhook destination, opened for one test. */
export function client(url: string, overrides: Partial<WebhookDestination> = {}, lookup: LookupFunction = noLookup) {
  const opened = openWebhook(webhookDestination(url, overrides), lookup);
  onTestFinished(() => opened.close());
  return {
    client: opened,
    send: (action: Partial<WebhookAction> = {}, row?: string, timeoutMs?: number): Promise<Judged> => {
      const scope = scopeOf(row === undefined ? {} : { new: row });
      const request = opened.render(webhookAction(action), scope, someMessageId);
      return judged('webhook', opened.send(request, attempt(timeoutMs)));
    },
  };
}

/** A file of test/actions/tls. */
export const pem = (name: string) => readFileSync(new URL(`tls/${name}`, import.meta.url), 'utf8');
