import { hash } from 'node:crypto';
import { ExpressionError, type Scope, type Template } from '../../domain/expression.ts';
import type { SlackAction } from '../../domain/rules.ts';
import type { SlackRequest } from './request.ts';

/** @throws ExpressionError when one of them is not a list */
export function renderLists(action: SlackAction, scope: Scope): Pick<SlackRequest, 'blocks' | 'attachments'> {
  const list = (name: string, template: Template | null): string | null => {
    const json = template?.renderJson(scope) ?? null;
    if (json === null || json.startsWith('[')) return json;
    throw new ExpressionError(`${name}: not a list of ${name}`, name);
  };
  return { blocks: list('blocks', action.blocks), attachments: list('attachments', action.attachments) };
}

export function renderOptions(action: SlackAction, scope: Scope): SlackRequest['options'] {
  const options: [string, string | boolean | null][] = [
    ['username', action.username?.renderText(scope) ?? null],
    ['icon_emoji', action.iconEmoji?.renderText(scope) ?? null],
    ['icon_url', action.iconUrl?.renderText(scope) ?? null],
    ['unfurl_links', action.unfurlLinks],
    ['unfurl_media', action.unfurlMedia],
  ];
  return Object.fromEntries(options.filter((option): option is [string, string | boolean] => (option[1] ?? '') !== ''));
}

/** Longer ones are noted by their digest: an index takes no more than 2,700 bytes. */
const longestKey = 200;

export function renderFollows(action: SlackAction, channel: string | null, scope: Scope): SlackRequest['follows'] {
  const key = action.follows?.key.renderText(scope) ?? '';
  if (action.follows === null || key === '') return null;
  const name = `slack ${channel} ${key}`.replaceAll('\0', '').toWellFormed();
  const short = name.length <= longestKey ? name : `slack ${hash('sha256', name, 'base64url')}`;
  return { as: action.follows.as, note: { of: 'destination', key: short } };
}
