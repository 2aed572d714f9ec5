import type { ActionServices, DestinationClient } from '../actions/contract.ts';
import { openDestination } from '../actions/registry.ts';
import { messageId } from '../domain/delivery.ts';
import type { EventRecord } from '../domain/event.ts';
import type { Scope } from '../domain/expression.ts';
import type { Action } from '../domain/rules.ts';

/**
 * What an action would send, as JSON text: as dead letters show it, without secrets, but with the whole body and every number digit
 * for digit.
 * @param event under the names of the file
 * @throws ExpressionError when it can't be rendered
 */
export async function renderedRequest(
  event: EventRecord,
  scope: Scope,
  observer: string,
  action: Action,
): Promise<string> {
  const client = openDestination(action.destination, nothingHappens);
  const id = messageId(event.uid, observer, action.name);
  const delivery = { id, observer, action: action.name, replay: false };
  try {
    return described(client, client.render(action, { record: scope.record, delivery }, id));
  } finally {
    await client.close();
  }
}

/** Rendering neither logs nor connects. */
const nothingHappens: ActionServices = {
  log: () => {},
  openDatabase: (url) => ({
    place: url === null ? 'the observed database' : placeOf(url),
    run: () => Promise.reject(new Error('a rehearsal runs nothing')),
    close: async () => {},
  }),
};

function placeOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
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
