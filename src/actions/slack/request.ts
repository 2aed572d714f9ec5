export interface SlackRequest {
  readonly messageId: string;
  readonly eventUid: string;
  /** null for an incoming webhook. */
  readonly channel: string | null;
  readonly text: string | null;
  /** A JSON array, as text: numbers keep their digits. */
  readonly blocks: string | null;
}
