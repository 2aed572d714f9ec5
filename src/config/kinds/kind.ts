import type { Template } from '../../domain/expression.ts';
import type { Action, Destination, DestinationKind } from '../../domain/rules.ts';
import type { Delivery } from '../delivery.ts';
import type { Field } from '../field.ts';
import type { JsonSchema } from '../schema-values.ts';

/** What a kind of destination adds to what all destinations have. */
export type OwnDestination<D extends Destination = Destination> = D extends Destination
  ? Omit<D, 'name' | 'position' | keyof Delivery>
  : never;

/** What a kind of action adds to what all actions have. */
export type OwnAction<A extends Action = Action> = A extends Action
  ? Omit<A, 'name' | 'position' | 'destination' | 'timeoutMs' | 'retry' | 'outcomes'>
  : never;

/** How a kind of destination, and the actions that name one, are written in the file. */
export interface Kind<K extends DestinationKind = DestinationKind> {
  readonly kind: K;
  /** What stands under the kind's key in a destination; null: there is one, it is built in, and bears the kind's name. */
  readonly destinationSchema: JsonSchema | null;
  /** Further keys of its destinations, beside the kind's. */
  readonly destinationKeys?: JsonSchema;
  /** What stands at the kind's key in an action: the reference to a destination, or a template when that is built in. */
  readonly reference: JsonSchema;
  /** Attempts in flight unless the destination says otherwise, whatever `defaults` say. */
  readonly concurrency?: number;
  /** Further keys of its actions, in the order in which messages name them. */
  readonly actionKeys: JsonSchema;
  /** Those of them in which nothing is evaluated: `${{ }}` is refused there. */
  readonly literalKeys?: readonly string[];
  /** What its actions ask for beyond that, as keywords of a schema. */
  readonly actionRules: JsonSchema;
  /** @param field of the kind's key, in the destination */
  readDestination(field: Field, destination: Field): OwnDestination<Extract<Destination, { kind: K }>>;
  /** @param destination null when the file names one that isn't there, which has been reported */
  readAction(field: Field, destination: Destination | null): OwnAction<Extract<Action, { kind: K }>>;
}

/** Stands in for a required template that isn't there; the configuration is refused then. */
export const nothing: Template = Object.freeze({ render: () => '', renderText: () => '', renderJson: () => '""' });
