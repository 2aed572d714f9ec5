import type { DestinationKind } from '../../domain/rules.ts';
import { email } from './email.ts';
import type { Kind } from './kind.ts';
import { slack } from './slack.ts';
import { webhook } from './webhook.ts';

export type { Kind, OwnAction, OwnDestination } from './kind.ts';

/** In the order in which messages and the schema name them. */
export const kinds: { readonly [K in DestinationKind]: Kind<K> } = { webhook, email, slack };
export const kindNames = Object.keys(kinds) as readonly DestinationKind[];
