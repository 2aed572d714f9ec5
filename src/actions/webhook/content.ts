import type { Scope } from '../../domain/expression.ts';
import type { WebhookAction } from '../../domain/rules.ts';
import type { Parameter } from '../../domain/webhook.ts';
import { envelopeData, eventEnvelope, percentEncoded } from '../../expression/index.ts';
import { cloudEventHeaders, structuredCloudEvent } from './cloud-event.ts';

/** The content type that needs no saying. */
export const jsonType = 'application/json';

export interface Content {
  /** null: there is no body, and nothing to say of it. */
  readonly type: string | null;
  readonly body: string;
  /** Headers that belong to the format: no other header replaces them. */
  readonly headers: Readonly<Record<string, string>>;
}

const noHeaders = Object.freeze({});
const nothing: Content = { type: null, body: '', headers: noHeaders };

/** The body of a request, in the action's format. @throws ExpressionError */
export function renderContent(action: WebhookAction, scope: Scope): Content {
  if (!hasBody(action)) return nothing;
  const { record } = scope;
  switch (action.format) {
    case 'json':
      return { type: jsonType, body: action.body?.renderJson(scope) ?? eventEnvelope(record), headers: noHeaders };
    case 'cloudevents': {
      const type = 'application/cloudevents+json; charset=utf-8';
      const body = structuredCloudEvent(record, dataOf(action, scope));
      return { type, body, headers: { 'content-type': type } };
    }
    case 'cloudevents_binary': {
      const headers = { 'content-type': jsonType, ...cloudEventHeaders(record) };
      return { type: jsonType, body: dataOf(action, scope), headers };
    }
    case 'form': {
      const body = encodeParameters(action.form, scope);
      return { type: 'application/x-www-form-urlencoded', body, headers: noHeaders };
    }
    case 'text':
      return { type: 'text/plain; charset=utf-8', body: action.body?.renderText(scope) ?? '', headers: noHeaders };
  }
}

function hasBody({ method, body, form }: WebhookAction): boolean {
  if (method === 'GET') return false;
  // Many servers refuse a DELETE with a body: only when somebody asks for one.
  return method !== 'DELETE' || body !== null || form.length > 0;
}

function dataOf({ body }: WebhookAction, scope: Scope): string {
  return body?.renderJson(scope) ?? envelopeData(scope.record);
}

/** As a form or a query. */
export function encodeParameters(parameters: readonly Parameter[], scope: Scope): string {
  return parameters
    .map(({ name, value, source }) => `${encodeURIComponent(name)}=${percentEncoded(value.renderText(scope), source)}`)
    .join('&');
}
