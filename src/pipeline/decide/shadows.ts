import type { DestinationClient } from '../../actions/contract.ts';
import { createKeptTextRedactor, redactDeep } from '../../actions/kept-redaction.ts';
import { openForRendering, renderDelivery } from '../../actions/rendering.ts';
import type { Action, Config, Destination } from '../../domain/rules.ts';
import type { ShadowRecord } from '../../transport/contract.ts';
import type { Shadowed } from './decide.ts';

/**
 * Renders what observers in shadow mode would send. In the router, and not by way of the queue: nothing of a shadow then takes a
 * place, waits for a breaker or can be sent by mistake, and it costs a row of the history, written by the statement that routes.
 */
export class ShadowRenderer {
  readonly #text: (text: string) => string;
  /** Opened for rendering only: a client that sends nothing connects to nothing. */
  readonly #clients = new Map<Destination, DestinationClient>();

  constructor({ secrets }: Config) {
    this.#text = createKeptTextRedactor(secrets);
  }

  records(shadowed: readonly Shadowed[]): readonly ShadowRecord[] {
    return shadowed.flatMap((one) =>
      one.fault === null
        ? one.observer.actions.map((action) => this.#rendered(one, action))
        : this.#record(one, null, undefined, 'condition', one.fault),
    );
  }

  #rendered(one: Shadowed, action: Action): ShadowRecord {
    try {
      const client = this.#clientOf(action.destination);
      const request = renderDelivery(client, action, one.scope.record, one.observer.name);
      return this.#record(one, action, redactDeep(client.describe(request), this.#text), null, null);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return this.#record(one, action, undefined, 'template', message);
    }
  }

  #record(
    { scope, observer }: Shadowed,
    action: Action | null,
    request: unknown,
    errorClass: string | null,
    message: string | null,
  ): ShadowRecord {
    return {
      event: scope.record,
      observer: observer.name,
      action: action?.name ?? '',
      destination: action?.destination.name ?? '',
      ruleVersion: observer.version,
      request,
      errorClass,
      errorMessage: message === null ? null : this.#text(message),
    };
  }

  #clientOf(destination: Destination): DestinationClient {
    const known = this.#clients.get(destination);
    if (known !== undefined) return known;
    const client = openForRendering(destination);
    this.#clients.set(destination, client);
    return client;
  }
}
