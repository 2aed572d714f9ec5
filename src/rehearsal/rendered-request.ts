import type { DestinationClient } from '../actions/contract.ts';
import { openForRendering, renderDelivery } from '../actions/rendering.ts';
import type { Scope } from '../domain/expression.ts';
import type { Action } from '../domain/rules.ts';

/**
 * What an action would send, as JSON text: as dead letters show it, without secrets, but with the whole body and every number digit
 * for digit.
 * @param scope of the event under the names of the file
 * @throws ExpressionError when it can't be rendered
 */
export async function renderedRequest(scope: Scope, observer: string, action: Action): Promise<string> {
  const client = openForRendering(action.destination);
  try {
    return described(client, renderDelivery(client, action, scope.record, observer));
  } finally {
    await client.close();
  }
}

function described(client: DestinationClient, request: unknown): string {
  const description = client.describe(request);
  const body = bodyOf(request);
  if (body === null || description === null || typeof description !== 'object' || !('body' in description))
    return JSON.stringify(description) ?? 'null';
  const others = JSON.stringify({ ...description, body: undefined });
  return `${others.slice(0, -1)}${others === '{}' ? '' : ','}"body":${body}}`;
}

/** Only a body of JSON: a dead letter may hold the beginning of a long one. */
function bodyOf(request: unknown): string | null {
  if (request === null || typeof request !== 'object' || !('body' in request) || typeof request.body !== 'string')
    return null;
  try {
    JSON.parse(request.body);
    return request.body;
  } catch {
    return null;
  }
}
