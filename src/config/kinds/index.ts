import type { DestinationKind } from '../../domain/rules.ts';
import { email } from './email.ts';
import type { Kind } from './kind.ts';
import { log } from './log.ts';
import { module } from './module.ts';
import { slack } from './slack.ts';
import { sql } from './sql.ts';
import { webhook } from './webhook.ts';

export type { Kind, OwnAction, OwnDestination } from './kind.ts';

/** In the order in which messages and the schema name them. */
export const kinds: { readonly [K in DestinationKind]: Kind<K> } = {
  webhook,
  email,
  slack,
  sql,
  module,
  log,
};
export const kindNames = Object.keys(kinds) as readonly DestinationKind[];
/** Those that a file declares. */
export const declaredKinds = kindNames.filter((name) => kinds[name].destinationSchema !== null);
