import { Optional } from '@marcbachmann/cel-js';
import type { TemplateMode } from '../domain/expression.ts';
import { isPlainObject, RawText, toText } from './print.ts';
import { EventView } from './scope.ts';

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
  return value instanceof RawText && mode !== 'header' ? text : escapeText(text, mode);
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
    case 'plain':
      return text;
  }
}

/** CR, LF and NUL would end a header and begin another. */
export function withoutLineBreaks(text: string): string {
  return text.replace(/[\r\n\0]/g, '');
}

/** A value that keeps its type: every text inside it is escaped, because a whole Slack block may come from data. */
export function escapeDeep(value: unknown, mode: TemplateMode): unknown {
  if (mode === 'plain') return value;
  if (typeof value === 'string' || value instanceof RawText) return escapeValue(value, mode);
  if (Array.isArray(value)) return value.map((item) => escapeDeep(item, mode));
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, escapeDeep(item, mode)]));
  if (value instanceof Optional) return escapeDeep(value.orValue(null), mode);
  if (value instanceof EventView) return escapeDeep(value.toJSON(), mode);
  // What is left writes itself (a number, a timestamp, …) and holds no text of a user's.
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, escapeDeep(item, mode)]));
}
