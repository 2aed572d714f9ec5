import { Optional } from '@marcbachmann/cel-js';
import type { TemplateMode } from '../domain/expression.ts';
import { isPlainObject, RawText, toText } from './print.ts';
import { DeliveryView, EventView } from './scope.ts';
import { isMrkdwn } from './slack-text.ts';

const htmlEntities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** A value as it may stand in the text of a mode. `raw()` opts out of html and mrkdwn; a header's line breaks always go. */
export function escapeValue(value: unknown, mode: TemplateMode): string {
  const text = toText(value);
  return value instanceof RawText && mode !== 'header' && mode !== 'address' ? text : escapeText(text, mode);
}

export function escapeText(text: string, mode: TemplateMode): string {
  switch (mode) {
    case 'html':
      return text.replace(/[&<>"']/g, (char) => htmlEntities[char] ?? char);
    case 'mrkdwn':
      // Slack asks for these three and no others.
      return text.replace(/[&<>]/g, (char) => htmlEntities[char] ?? char);
    case 'header':
      return withoutLineBreaks(text);
    case 'address':
      return maskAddress(withoutLineBreaks(text));
    case 'plain':
    case 'blocks':
      return text;
  }
}

/** CR, LF and NUL would end a header and begin another. */
export function withoutLineBreaks(text: string): string {
  return text.replace(/[\r\n\0]/g, '');
}

/** A value that keeps its type: every text inside it is escaped, because a whole Slack block may come from data. */
export function escapeDeep(value: unknown, mode: TemplateMode): unknown {
  // A whole address is read by itself, where nothing stands around it that it could change.
  if (mode === 'plain' || mode === 'address') return value;
  if (typeof value === 'string' || value instanceof RawText) return escapeValue(value, mode);
  if (Array.isArray(value)) return value.map((item) => escapeDeep(item, mode));
  if (value instanceof Map) {
    const modeOf = memberMode(mode, (key) => value.get(key));
    return new Map([...value].map(([key, item]) => [key, escapeDeep(item, modeOf(String(key)))]));
  }
  if (value instanceof Optional) return escapeDeep(value.orValue(null), mode);
  if (value instanceof EventView || value instanceof DeliveryView) return escapeDeep(value.toJSON(), mode);
  // What is left writes itself (a number, a timestamp, …) and holds no text of a user's.
  if (!isPlainObject(value)) return value;
  const modeOf = memberMode(mode, (key) => (Object.hasOwn(value, key) ? value[key] : undefined));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, escapeDeep(item, modeOf(key))]));
}

/** The mode of a mapping's members. @param siblings its members by key */
export function memberMode(mode: TemplateMode, siblings: (key: string) => unknown): (key: string) => TemplateMode {
  if (mode !== 'mrkdwn' && mode !== 'blocks') return () => mode;
  return (key) => (isMrkdwn(siblings, key) ? 'mrkdwn' : 'blocks');
}

/**
 * What has a meaning between mailboxes, each under a character that Unicode sets aside for internal use: a name from data can
 * neither end its mailbox nor begin another one. The alternative, quoting it, would have to know whether it stands in a name or
 * in an address.
 */
const addressPunctuation = ',;:<>()[]"\\ ';
const firstAddressStandIn = 0xfdd0;

function maskAddress(text: string): string {
  const plain = text.replace(/[\uFDD0-\uFDEF]/g, '').replace(/\s/g, ' ');
  return plain.replace(/[,;:<>()[\]"\\ ]/g, (char) =>
    String.fromCharCode(firstAddressStandIn + addressPunctuation.indexOf(char)),
  );
}

/** What was inserted in the mode `address`, as it was, once the mailboxes have been told apart. */
export function unmaskAddress(text: string): string {
  return text.replace(/[\uFDD0-\uFDDB]/g, (char) => addressPunctuation[char.charCodeAt(0) - firstAddressStandIn] ?? '');
}
