import type { Destination, DestinationKind } from '../domain/rules.ts';
import type { ActionServices, ActionType, DestinationClient } from './contract.ts';
import { email } from './email/email.ts';
import { log } from './log/log.ts';
import { module } from './module/module.ts';
import { slack } from './slack/slack.ts';
import { sql } from './sql/sql.ts';
import { webhook } from './webhook/webhook.ts';

export const actionTypes: Readonly<Record<DestinationKind, ActionType>> = { webhook, email, slack, log, sql, module };

/**
 * Opens a destination without connecting to it.
 *
 * @throws UserError when its secrets can't be used as keys
 */
export function openDestination(destination: Destination, services: ActionServices): DestinationClient {
  return actionTypes[destination.kind].open(destination, services);
}
