import type { Destination } from './destinations.ts';
import type { Template } from './expression.ts';
import type { OutcomePolicy } from './outcome-policy.ts';
import type { Position } from './position.ts';
import type { RetryPolicy } from './retry.ts';
import type { StatementTemplate } from './sql.ts';
import type { LogLevel } from './telemetry.ts';
import type { Parameter, WebhookFormat, WebhookMethod } from './webhook.ts';

interface ActionCommon {
  /** Unique within its observer. */
  readonly name: string;
  readonly position: Position;
  readonly destination: Destination;
  /** The action's own, or its destination's. */
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly outcomes: OutcomePolicy;
}

export interface WebhookAction extends ActionCommon {
  readonly kind: 'webhook';
  /** The action's own, or its destination's. */
  readonly method: WebhookMethod;
  readonly format: WebhookFormat;
  /** null: the event envelope, in a CloudEvent its `data`; in a form, see `form`. */
  readonly body: Template | null;
  /** The body of `format: form`. */
  readonly form: readonly Parameter[];
  /** The destination's and the action's own. */
  readonly query: readonly Parameter[];
  readonly headers: Readonly<Record<string, Template>>;
}

export interface EmailAction extends ActionCommon {
  readonly kind: 'email';
  readonly to: Template;
  readonly cc: Template | null;
  readonly bcc: Template | null;
  readonly replyTo: Template | null;
  readonly subject: Template;
  readonly text: Template | null;
  /** Values are HTML-escaped. */
  readonly html: Template | null;
  readonly attachments: readonly AttachmentTemplate[];
  /** By name as written. */
  readonly headers: Readonly<Record<string, Template>>;
  readonly priority: 'high' | 'normal' | 'low';
  /** Mails with the same value are one conversation. */
  readonly threadKey: Template | null;
  readonly unsubscribe: Unsubscribe | null;
  /** Of a mail that gathers several deliveries; null: nothing is said. */
  readonly digest: DigestTemplates | null;
}

export interface DigestTemplates {
  /** Only mails with the same value become one; null: all to the same recipients. */
  readonly key: Template | null;
  /** What stands before the items, as text and as HTML; of the oldest delivery. */
  readonly intro: { readonly text: Template; readonly html: Template } | null;
}

export interface AttachmentTemplate {
  readonly filename: Template;
  /** A text as it is, anything else as JSON; null: it is left out. */
  readonly content: Template;
  /** null: by the name. */
  readonly contentType: Template | null;
  /** How a text holds the content; `hex` also as PostgreSQL writes a bytea. */
  readonly encoding: 'text' | 'base64' | 'hex';
}

/** List-Unsubscribe: one of the two at least. */
export interface Unsubscribe {
  /** https. */
  readonly url: Template | null;
  readonly mailto: Template | null;
  /** Whether a POST to the URL unsubscribes without a question (RFC 8058). */
  readonly oneClick: boolean;
}

export interface SlackAction extends ActionCommon {
  readonly kind: 'slack';
  /** null for an incoming webhook, which has its channel built in. */
  readonly channel: Template | null;
  /** Values are mrkdwn-escaped. */
  readonly text: Template | null;
  /** Only what Slack reads as mrkdwn in them is escaped. */
  readonly blocks: Template | null;
  readonly attachments: Template | null;
  /** Shown instead of the app's own name and icon; need the scope chat:write.customize. */
  readonly username: Template | null;
  readonly iconEmoji: Template | null;
  readonly iconUrl: Template | null;
  /** null: as Slack does by itself. */
  readonly unfurlLinks: boolean | null;
  readonly unfurlMedia: boolean | null;
  /**
   * The first message to a channel with a key is a message like others; what comes later with the same key replies in its thread,
   * or edits it. A key that renders to nothing: a message by itself.
   */
  readonly follows: { readonly as: 'reply' | 'edit'; readonly key: Template } | null;
  /** A reply is shown in the channel, too. */
  readonly replyBroadcast: boolean;
}

export interface LogAction extends ActionCommon {
  readonly kind: 'log';
  readonly level: LogLevel;
  readonly message: Template;
  readonly fields: Template | null;
}

export interface SqlAction extends ActionCommon {
  readonly kind: 'sql';
  readonly statement: StatementTemplate;
}

export interface ModuleAction extends ActionCommon {
  readonly kind: 'module';
  /** null: the event envelope. */
  readonly input: Template | null;
}

export type Action = WebhookAction | EmailAction | SlackAction | LogAction | SqlAction | ModuleAction;
