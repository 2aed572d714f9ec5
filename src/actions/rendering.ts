import { messageId } from '../domain/delivery.ts';
import type { EventRecord } from '../domain/event.ts';
import type { Action, Destination } from '../domain/rules.ts';
import { createScope } from '../expression/index.ts';
import type { ActionServices, DestinationClient } from './contract.ts';
import { openDestination } from './registry.ts';

/** A destination of which only `render` and `describe` are wanted: it neither logs nor connects. */
export function openForRendering(destination: Destination): DestinationClient {
  return openDestination(destination, idle);
}

/**
 * What is to be sent for an event, by whoever sends it or only shows it.
 * @param replay a person asked for it again
 * @throws ExpressionError when it can't be rendered
 */
export function renderDelivery<A extends Action, Request>(
  client: DestinationClient<A, Request>,
  action: A,
  event: EventRecord,
  observer: string,
  replay = false,
): Request {
  const id = messageId(event.uid, observer, action.name);
  return client.render(action, createScope(event, { id, observer, action: action.name, replay }), id);
}

const idle: ActionServices = {
  log: () => {},
  openDatabase: (url) => ({
    place: url === null ? 'the observed database' : placeOf(url),
    run: () => Promise.reject(new Error('a destination opened for rendering runs nothing')),
    close: async () => {},
  }),
};

function placeOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
}
