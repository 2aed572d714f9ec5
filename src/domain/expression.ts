import type { EventRecord } from './event.ts';

/**
 * What a condition or template can see: the variables `event`, `new`, `old`, `changed` and `payload`, parsed from the
 * event's text only when they are used. Made once per event and shared by all observers and actions.
 */
export interface Scope {
  readonly record: EventRecord;
  /** Only in actions: a condition is evaluated before there is a delivery. */
  readonly delivery?: DeliveryFacts | undefined;
}

/** What an action can see of its delivery: the same for every attempt and replay. */
export interface DeliveryFacts {
  /** The id a receiver sees, as `webhook-id`. */
  readonly id: string;
  readonly observer: string;
  readonly action: string;
  /** Of a dead letter: somebody asked for it. Nothing that a template sees. */
  readonly replay: boolean;
}

export interface CompiledExpression {
  /** As written (a tree: the expression it stands for). */
  readonly source: string;
  /** @throws ExpressionError when it can't be evaluated on this event */
  evaluate(scope: Scope): unknown;
}

/**
 * How values are written into mixed text. A string that is one `${{ }}` keeps its type whatever the mode. In mappings of `mrkdwn`
 * and `blocks` only those texts are escaped that Slack reads as mrkdwn; a text by itself is one in `mrkdwn`, and none in `blocks`.
 */
export type TemplateMode = 'plain' | 'html' | 'mrkdwn' | 'blocks' | 'header' | 'address';

export interface Template {
  /** @throws ExpressionError */
  render(scope: Scope): unknown;
  /** Like `render`, as text: null and missing become '', numbers keep their digits. @throws ExpressionError */
  renderText(scope: Scope): string;
  /** Like `render`, as JSON text with numbers digit for digit. @throws ExpressionError */
  renderJson(scope: Scope): string;
}

/** A URL with values of the event in it. */
export interface UrlTemplate {
  /** As written. */
  readonly source: string;
  /** Scheme, host and port when they are written in the template; null when the event has a say in them. */
  readonly origin: string | null;
  /** @throws ExpressionError when it can't be evaluated, or the values do not make a URL of this form */
  render(scope: Scope): URL;
}

/** A condition or template that can't be evaluated on this event; becomes a dead letter with reason `engine_fault`. */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError';
  /** The expression as written. */
  readonly expression: string;

  /** Where it stands, as file:line:column; null when nobody knows. */
  readonly place: string | null;

  constructor(message: string, expression: string, options: ErrorOptions & { readonly place?: string } = {}) {
    super(message, options);
    this.expression = expression;
    this.place = options.place ?? null;
  }
}
