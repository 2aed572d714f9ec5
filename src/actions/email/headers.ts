import { hash } from 'node:crypto';
import { ExpressionError, type Scope } from '../../domain/expression.ts';
import type { EmailAction, Unsubscribe } from '../../domain/rules.ts';

/** Of a mail about one event. */
export const eventHeader = 'X-PG-Observers-Event';

/** What a mail says besides its subject and addresses, by name. @throws ExpressionError */
export function renderHeaders(action: EmailAction, scope: Scope, host: string): Record<string, string> {
  const own = Object.entries(action.headers).map(([name, value]) => [name, value.renderText(scope)] as const);
  return {
    ...Object.fromEntries(own.filter(([, value]) => value !== '')),
    ...threadHeaders(action.threadKey?.renderText(scope) ?? '', host),
    ...(action.unsubscribe !== null && unsubscribeHeaders(action.unsubscribe, scope)),
    [eventHeader]: scope.record.uid,
    // RFC 3834: keeps out-of-office replies away.
    'Auto-Submitted': 'auto-generated',
  };
}

/**
 * Each mail answers one that was never sent. Programs group mails by what they refer to, whether they have it or not, so there
 * is nothing to remember.
 */
function threadHeaders(key: string, host: string): Record<string, string> {
  if (key === '') return {};
  const root = `<thread_${hash('sha256', key, 'base64url').slice(0, 27)}@${host}>`;
  return { 'In-Reply-To': root, References: root };
}

/** RFC 2369; with a POST that unsubscribes at once, RFC 8058. */
function unsubscribeHeaders({ url, mailto, oneClick }: Unsubscribe, scope: Scope): Record<string, string> {
  const link = url?.renderText(scope) ?? '';
  const mail = mailto?.renderText(scope) ?? '';
  const targets = [link === '' ? [] : linkOf(link), mail === '' ? [] : mailtoOf(mail)].flat();
  if (targets.length === 0) return {};
  return {
    'List-Unsubscribe': targets.map((target) => `<${target}>`).join(', '),
    ...(link !== '' && oneClick && { 'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click' }),
  };
}

function linkOf(text: string): string {
  const link = URL.canParse(text) ? new URL(text) : null;
  // Written anew, nothing is left in it that could end it.
  if (link?.protocol === 'https:' && link.href.length < 900) return link.href.replace(/[<>,\s]/g, encodeURIComponent);
  throw new ExpressionError(`unsubscribe.url: ${JSON.stringify(text)} is not an https:// URL`, 'unsubscribe');
}

function mailtoOf(text: string): string {
  const address = text.replace(/^mailto:/i, '');
  if (/^[^\s<>,@]+@[^\s<>,@]+$/.test(address)) return `mailto:${address}`;
  throw new ExpressionError(`unsubscribe.mailto: ${JSON.stringify(text)} is not an address`, 'unsubscribe');
}
