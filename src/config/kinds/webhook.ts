import type { Template } from '../../domain/expression.ts';
import type { Gathering } from '../../domain/gathering.ts';
import type { Destination, WebhookAction, WebhookDestination } from '../../domain/rules.ts';
import type { Parameter, WebhookFormat, WebhookMethod } from '../../domain/webhook.ts';
import { readTemplate, readUrlTemplate } from '../expressions.ts';
import type { Field } from '../field.ts';
import { readHeaders } from '../headers.ts';
import { keepVariables } from '../kept-variables.ts';
import { text } from '../schema-values.ts';
import { keepQuerySecrets, readUrl } from '../urls.ts';
import type { Kind, OwnAction, OwnDestination } from './kind.ts';
import { readAuth, readSecrets, readTls } from './webhook-auth.ts';
import { actionKeys, batchKey, destinationSchema } from './webhook-schema.ts';

export const webhook: Kind<'webhook'> = {
  kind: 'webhook',
  destinationSchema,
  destinationKeys: { batch: batchKey },
  reference: text(
    'Name of a webhook destination, or a literal http(s) URL (a destination with the defaults, not signed), which may hold `${{ expression }}`.',
  ),
  actionKeys,
  literalKeys: ['method', 'format'],
  actionRules: {},
  readDestination,
  readAction,
};

const hour = 3_600_000;

type OwnWebhook = OwnDestination<WebhookDestination>;

function readDestination(field: Field, destination: Field): OwnWebhook {
  const plain = plainWebhook(field.get('url'));
  const headers = Object.fromEntries(
    readHeaders(field.get('headers')).map(([name, value]) => [name, value.text() ?? '']),
  );
  const auth = readAuth(field.get('auth'));
  const tls = readTls(field.get('tls'));
  checkAuth(field, headers, plain);
  return {
    ...plain,
    method: readMethod(field) ?? plain.method,
    format: readFormat(field) ?? plain.format,
    query: readParameters(field.get('query')),
    secrets: readSecrets(field.get('secret')),
    headers: Object.freeze({ ...headers, ...auth.headers }),
    oauth2: auth.oauth2,
    tls,
    gathering: readBatch(destination.get('batch')),
  };
}

/** A URL and nothing else said: how a literal one in an action is read. */
export function plainWebhook(field: Field): OwnWebhook {
  const url = field.text() ?? '';
  const urlTemplate = url.includes('${{') ? readUrlTemplate(field) : null;
  if (url.includes('${{')) keepQuerySecrets(field);
  else readUrl(field, 'http');
  return {
    kind: 'webhook',
    url,
    urlTemplate,
    method: 'POST',
    format: 'json',
    query: Object.freeze([]),
    secrets: Object.freeze([]),
    headers: Object.freeze({}),
    oauth2: null,
    tls: null,
    gathering: null,
  };
}

function checkAuth(field: Field, headers: Readonly<Record<string, string>>, { url }: OwnWebhook): void {
  const [auth, tls] = [field.get('auth'), field.get('tls')];
  if (auth.present && Object.hasOwn(headers, 'authorization')) {
    auth.refuseKey('`auth` and the header `authorization` say the same twice', 'keep one of them');
  }
  if (auth.present && /^https?:\/\/[^/?#]*@/i.test(url)) {
    auth.refuseKey('`auth` and the user in `url` say the same twice', 'keep one of them');
  }
  if (tls.present && /^http:/i.test(url)) tls.refuseKey('`tls` is for https:// URLs, and this is none');
}

const readMethod = (field: Field) => field.get('method').text() as WebhookMethod | undefined;
const readFormat = (field: Field) => field.get('format').text() as WebhookFormat | undefined;

function readAction(field: Field, destination: Destination | null): OwnAction<WebhookAction> {
  const inherited = destination?.kind === 'webhook' ? destination : null;
  const headers = readHeaders(field.get('headers')).flatMap(([name, value]): [string, Template][] => {
    const template = readTemplate(value, 'header');
    return template === null ? [] : [[name, template]];
  });
  const method = readMethod(field) ?? inherited?.method ?? 'POST';
  const format = readFormat(field) ?? inherited?.format ?? 'json';
  keepVariables(field.get('body'));
  const isForm = format === 'form' && method !== 'GET';
  checkBody(field, method, format);
  if (inherited !== null && inherited.gathering !== null) checkItem(field, method, format);
  checkAuthorization(field, inherited);
  return {
    kind: 'webhook',
    method,
    format,
    body: isForm ? null : readTemplate(field.get('body'), 'plain'),
    form: isForm ? readParameters(field.get('body')) : Object.freeze([]),
    query: mergedQuery(inherited?.query ?? [], readParameters(field.get('query'))),
    headers: Object.freeze(Object.fromEntries(headers)),
  };
}

function readBatch(field: Field): Gathering | null {
  if (!field.present) return null;
  const most = field.get('max').number() ?? 100;
  return Object.freeze({
    waitMs: field.get('wait').duration(10, hour) ?? 1_000,
    enough: most,
    most,
    maxBytes: field.get('max_bytes').number() ?? 1024 * 1024,
    perItem: field.get('items').flag() ?? false,
  });
}

/** What an array of JSON has no place for. */
function checkItem(field: Field, method: WebhookMethod, format: WebhookFormat): void {
  const place = (key: string) => (field.get(key).present ? field.get(key) : field.get('webhook'));
  const noPlace = `destination ${field.get('webhook').shown} has a \`batch\`, and a JSON array has no place for`;
  if (format !== 'json' && format !== 'cloudevents')
    place('format').refuseKey(`${noPlace} \`format: ${format}\``, 'json and cloudevents can be in one');
  else if (method === 'GET' || (method === 'DELETE' && !field.get('body').present))
    place('method').refuseKey(`${noPlace} a ${method} request without a body`);
}

function checkBody(field: Field, method: WebhookMethod, format: WebhookFormat): void {
  const body = field.get('body');
  if (method === 'GET') {
    if (body.present) body.refuseKey('a GET request has no body', 'write the values under `query`');
  } else if (format === 'form' && (body.present || method !== 'DELETE')) {
    const isMapping = typeof body.value === 'object' && body.value !== null && !Array.isArray(body.value);
    if (isMapping && Object.keys(body.value).length > 0) return;
    const place = body.present ? body : field.get('webhook');
    place.refuseKey('`format: form` needs a `body` with fields', 'such as body: { order: "${{ new.id }}" }');
  } else if (format === 'text' && method !== 'DELETE' && !body.present) {
    field.get('webhook').refuseKey('`format: text` needs a `body`', 'such as body: Order ${{ new.id }} is paid');
  }
}

/** What the destination proves itself with is not replaced by a value of the event. */
function checkAuthorization(field: Field, destination: WebhookDestination | null): void {
  if (destination === null || destination.oauth2 === null) return;
  const [, header] =
    field
      .get('headers')
      .entries()
      .find(([name]) => name.toLowerCase() === 'authorization') ?? [];
  header?.refuseKey(`destination ${field.get('webhook').shown} sends \`authorization\` itself`, 'remove it');
}

/** A mapping of names to values; a list gives its name several times. */
function readParameters(field: Field): readonly Parameter[] {
  const parameters = field.entries().flatMap(([name, value]) => {
    const items = Array.isArray(value.value) ? value.items() : [value];
    return items.flatMap((item): Parameter[] => {
      const template = readTemplate(item, 'plain');
      return template === null ? [] : [{ name, value: template, source: JSON.stringify(item.value) }];
    });
  });
  return Object.freeze(parameters);
}

/** By name, as with headers: the action has the last word. */
function mergedQuery(inherited: readonly Parameter[], own: readonly Parameter[]): readonly Parameter[] {
  const names = new Set(own.map(({ name }) => name));
  return Object.freeze([...inherited.filter(({ name }) => !names.has(name)), ...own]);
}
