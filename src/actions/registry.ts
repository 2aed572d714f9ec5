import type { Destination, DestinationKind } from '../domain/rules.ts';
import type { ActionType, DestinationClient } from './contract.ts';
import { email } from './email/email.ts';
import { slack } from './slack/slack.ts';
import { webhook } from './webhook/webhook.ts';

export const actionTypes: Readonly<Record<DestinationKind, ActionType>> = { webhook, email, slack };

/**
 * Opens a destination without connecting to it.
 *
 * @throws UserError when its secrets can't be used as keys
 */
export function openDestination(destination: Destination): DestinationClient {
  return actionTypes[destination.kind].open(destination);
}
