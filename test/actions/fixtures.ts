import type { ActionServices, AttemptContext } from '../../src/actions/contract.ts';
import { Deadline } from '../../src/actions/deadline.ts';
import { messageId } from '../../src/domain/delivery.ts';
import type { EventRecord } from '../../src/domain/event.ts';
import type { Scope, Template, TemplateMode } from '../../src/domain/expression.ts';
import type { Outcome } from '../../src/domain/outcome.ts';
import { builtInOutcomes, type Verdict } from '../../src/domain/outcome-policy.ts';
import type {
  DestinationKind,
  EmailAction,
  EmailDestination,
  LogDestination,
  SlackAction,
  SlackDestination,
  WebhookAction,
  WebhookDestination,
} from '../../src/domain/rules.ts';
import type { ActionLogged } from '../../src/domain/telemetry.ts';
import { compileTemplate, createScope } from '../../src/expression/index.ts';
import { openStatements } from '../../src/transport/postgres/statements.ts';

/** What `log` was told, in order. */
export const logged: Omit<ActionLogged, 'type'>[] = [];

/** As the engine gives them, save that nothing is settled. */
export const services: ActionServices = {
  log: (entry) => logged.push(entry),
  openDatabase: (url, connections) =>
    openStatements(url ?? 'postgres://nowhere.invalid/', { connections, instance: () => 'none' }),
};

const position = { line: 1, column: 1 };

export const noRetry = {
  attempts: 1,
  initialMs: 0,
  factor: 1,
  maxMs: 0,
  jitter: 'none',
  schedule: null,
  maxAgeMs: null,
} as const;

export const common = {
  position,
  timeoutMs: 10_000,
  concurrency: 4,
  retry: noRetry,
  retryAfterMaxMs: 3_600_000,
  rateLimit: null,
  tenantConcurrency: null,
  tenantRateLimit: null,
  circuitBreaker: null,
  addresses: { guard: 'auto', allow: [], deny: [] },
} as const;

const plainRequest = { method: 'POST', format: 'json', query: [] } as const;
const plainWebhook = {
  ...plainRequest,
  urlTemplate: null,
  secrets: [],
  headers: {},
  oauth2: null,
  tls: null,
  gathering: null,
} as const;

export function webhookDestination(url: string, overrides: Partial<WebhookDestination> = {}): WebhookDestination {
  return {
    ...common,
    outcomes: builtInOutcomes('webhook'),
    kind: 'webhook',
    name: 'billing',
    ...plainWebhook,
    url,
    ...overrides,
  };
}

export function emailDestination(smtp: string, overrides: Partial<EmailDestination> = {}): EmailDestination {
  return {
    ...common,
    outcomes: builtInOutcomes('email'),
    kind: 'email',
    name: 'mail',
    smtp,
    from: 'Orders <orders@shop.example>',
    maxMessages: 100,
    dkim: null,
    gathering: null,
    ...overrides,
  };
}

export function slackDestination(
  auth: SlackDestination['auth'],
  overrides: Partial<SlackDestination> = {},
): SlackDestination {
  return { ...common, outcomes: builtInOutcomes('slack'), kind: 'slack', name: 'sales', auth, ...overrides };
}

export function template(value: unknown, mode: TemplateMode = 'plain'): Template {
  return compileTemplate(value, mode);
}

export const actionBase = { name: 'action-1', position, timeoutMs: 10_000, retry: noRetry };
// An action only names its destination; what is sent goes through the client that was opened for it.
const anywhere = 'http://127.0.0.1:9/';

export function webhookAction(overrides: Partial<WebhookAction> = {}): WebhookAction {
  const destination = webhookDestination(anywhere);
  return {
    ...actionBase,
    outcomes: builtInOutcomes('webhook'),
    kind: 'webhook',
    destination,
    ...plainRequest,
    body: null,
    form: [],
    headers: {},
    ...overrides,
  };
}

export function emailAction(overrides: Partial<EmailAction> = {}): EmailAction {
  return {
    ...actionBase,
    outcomes: builtInOutcomes('email'),
    kind: 'email',
    destination: emailDestination('smtp://127.0.0.1:9'),
    to: template('${{ new.email }}', 'header'),
    cc: null,
    bcc: null,
    replyTo: null,
    subject: template('Order ${{ new.id }} is paid', 'header'),
    text: template('Thank you!'),
    html: null,
    attachments: [],
    headers: {},
    priority: 'normal',
    threadKey: null,
    unsubscribe: null,
    digest: null,
    ...overrides,
  };
}

export function slackAction(overrides: Partial<SlackAction> = {}): SlackAction {
  return {
    ...actionBase,
    outcomes: builtInOutcomes('slack'),
    kind: 'slack',
    destination: slackDestination({ kind: 'incoming', webhookUrl: anywhere }),
    channel: template('#sales'),
    text: template('Order *${{ new.id }}* paid', 'mrkdwn'),
    blocks: null,
    attachments: null,
    username: null,
    iconEmoji: null,
    iconUrl: null,
    unfurlLinks: null,
    unfurlMedia: null,
    follows: null,
    replyBroadcast: false,
    ...overrides,
  };
}

export function eventRecord(overrides: Partial<EventRecord> = {}): EventRecord {
  return {
    id: '7',
    uid: '0b7f4f9e-6f1c-4c8e-9d55-1f0e6a3b2c1d',
    source: 'orders',
    operation: 'update',
    schema: 'public',
    table: 'orders',
    key: '42',
    tenant: null,
    old: '{"id": 42, "status": "open", "email": "ann@example.com"}',
    new: '{"id": 42, "status": "paid", "email": "ann@example.com", "total": 12345678901234567890.10}',
    payload: null,
    context: null,
    at: '2026-11-20T12:00:00.123456Z',
    ...overrides,
  };
}

export function scopeOf(overrides: Partial<EventRecord> = {}): Scope {
  const facts = { id: someMessageId, observer: 'big-order-paid', action: 'action-1', replay: false };
  return createScope(eventRecord(overrides), facts);
}

export const someMessageId = messageId(eventRecord().uid, 'big-order-paid', 'action-1');

/** An attempt with a real deadline. */
export function attempt(timeoutMs = 10_000, number = 1): AttemptContext {
  return { deadline: new Deadline(timeoutMs), timeoutMs, number };
}

export interface Judged extends Outcome {
  readonly kind: 'delivered' | 'retry' | 'rejected' | 'disable';
}

const kindOf: Readonly<Record<Verdict, Judged['kind']>> = {
  success: 'delivered',
  retry: 'retry',
  reject: 'rejected',
  disable: 'disable',
};

/** An outcome, and what the policy that is built in for the kind makes of it. */
export async function judged(kind: DestinationKind, sent: Promise<Outcome>): Promise<Judged> {
  const outcome = await sent;
  return { ...outcome, kind: kindOf[builtInOutcomes(kind).judge(outcome)] };
}

export const logDestination: LogDestination = {
  ...common,
  outcomes: builtInOutcomes('log'),
  kind: 'log',
  name: 'log',
};
