/** A message as it stands in a channel now. */
export interface StoredSlackMessage {
  readonly channel: string;
  readonly ts: string;
  /** The message whose thread it is in. */
  readonly threadTs: string | null;
  readonly text: string | null;
  readonly blocks: unknown;
  readonly edits: number;
}

/** The channels of a workspace: who posts, replies or edits gets the answers that Slack gives. */
export class SlackMessages {
  readonly #channels: ReadonlySet<string> | null;
  readonly #ids = new Map<string, string>();
  readonly #messages = new Map<string, StoredSlackMessage>();
  #last = 0;

  /** @param channels names and ids that there are; null: whatever is asked for */
  constructor(channels: readonly string[] | null) {
    this.#channels = channels === null ? null : new Set(channels);
  }

  /** As they stand now, oldest first. */
  get all(): readonly StoredSlackMessage[] {
    return [...this.#messages.values()];
  }

  /** The id of a channel, from its name or itself; null when there is none. */
  channelId(channel: string | null): string | null {
    if (channel === null || (this.#channels !== null && !this.#channels.has(channel) && !this.#knows(channel)))
      return null;
    if (!channel.startsWith('#')) return channel;
    const id = this.#ids.get(channel) ?? `C${String(this.#ids.size + 1).padStart(8, '0')}`;
    this.#ids.set(channel, id);
    return id;
  }

  /** @returns an error code, or the new message */
  post(
    channel: string,
    { threadTs, text, blocks }: Pick<StoredSlackMessage, 'threadTs' | 'text' | 'blocks'>,
  ): StoredSlackMessage | string {
    if (threadTs !== null && !this.#messages.has(keyOf(channel, threadTs))) return 'thread_not_found';
    this.#last += 1;
    const ts = `${Math.floor(Date.now() / 1000)}.${String(this.#last).padStart(6, '0')}`;
    const message = { channel, ts, threadTs, text, blocks, edits: 0 };
    this.#messages.set(keyOf(channel, ts), message);
    return message;
  }

  /** @returns an error code, or the message as it is now */
  edit(channel: string, ts: string | null, text: string | null, blocks: unknown): StoredSlackMessage | string {
    const before = this.#messages.get(keyOf(channel, ts ?? ''));
    if (before === undefined) return 'message_not_found';
    const message = { ...before, text, blocks, edits: before.edits + 1 };
    this.#messages.set(keyOf(channel, before.ts), message);
    return message;
  }

  /** As a person does. */
  delete({ channel, ts }: StoredSlackMessage): void {
    this.#messages.delete(keyOf(channel, ts));
  }

  #knows(id: string): boolean {
    return [...this.#ids.values()].includes(id);
  }
}

const keyOf = (channel: string, ts: string) => `${channel} ${ts}`;
