import { messageId } from '../domain/delivery.ts';
import type { Scope } from '../domain/expression.ts';
import type { Action, Destination } from '../domain/rules.ts';
import type { ActionServices, DestinationClient } from './contract.ts';
import { openDestination } from './registry.ts';

/** A destination of which only `render` and `describe` are wanted: it neither logs nor connects. */
export function openForRendering(destination: Destination): DestinationClient {
  return openDestination(destination, idle);
}

/** What would be sent. @throws ExpressionError when it can't be rendered */
export function renderOnly(client: DestinationClient, scope: Scope, observer: string, action: Action): unknown {
  const { record } = scope;
  const id = messageId(record.uid, observer, action.name);
  return client.render(action, { record, delivery: { id, observer, action: action.name, replay: false } }, id);
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
