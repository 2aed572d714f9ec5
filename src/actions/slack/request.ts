import type { NoteKey } from '../contract.ts';

export interface SlackRequest {
  readonly messageId: string;
  readonly eventUid: string;
  /** null for an incoming webhook. */
  readonly channel: string | null;
  readonly text: string | null;
  /** A JSON array, as text: numbers keep their digits. */
  readonly blocks: string | null;
  readonly attachments: string | null;
  /** Arguments that go along as they are, by their names in Slack's API. */
  readonly options: Readonly<Record<string, string | boolean>>;
  /** null: a message by itself. */
  readonly follows: { readonly as: 'reply' | 'edit'; readonly note: NoteKey } | null;
  readonly replyBroadcast: boolean;
}

/** Where the first message of a key is: noted when it was sent. */
export interface FirstMessage {
  /** An id, also where the action names a channel: edits take nothing else. */
  readonly channel: string;
  readonly ts: string;
}

/** What is noted, or what Slack answers; null when that is no message. */
export function toFirstMessage(value: unknown): FirstMessage | null {
  const { channel, ts } = (value ?? {}) as Partial<Record<string, unknown>>;
  return typeof channel === 'string' && typeof ts === 'string' ? { channel, ts } : null;
}
