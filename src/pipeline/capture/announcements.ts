import { randomUUID } from 'node:crypto';
import type { NotificationLog } from '../../transport/contract.ts';

/** Within this time a mark comes back, or notifications do not arrive. Milliseconds. */
const answerWithinMs = 5_000;
/** Then, how long until the next try. */
const tryAgainMs = 30_000;

/**
 * The marks of ours that are on their way. Each goes out under a token of its own, and what it is to begin counts as listened to
 * when it comes back: an earlier one, sent by whomever, may have passed before LISTEN took effect.
 */
export class Announcements {
  /** Not announced yet; and when to. */
  #wanted = new Set<string>();
  #dueAt = 0;
  readonly #sent = new Map<string, readonly string[]>();
  #sentAt = 0;

  want(channels: readonly string[]): void {
    for (const channel of channels) this.#wanted.add(channel);
    this.#dueAt = 0;
  }

  /** What is to be announced now; what got no answer is again, later. */
  #due(): readonly string[] {
    const now = performance.now();
    if (this.#sent.size > 0 && now > this.#sentAt + answerWithinMs) {
      for (const channel of [...this.#sent.values()].flat()) this.#wanted.add(channel);
      this.#sent.clear();
      this.#dueAt = now + tryAgainMs;
    }
    return now >= this.#dueAt ? [...this.#wanted] : [];
  }

  /** When to send again. */
  get dueAt(): number {
    if (this.#sent.size > 0) return this.#sentAt + answerWithinMs + 1;
    return this.#wanted.size > 0 ? this.#dueAt : Number.POSITIVE_INFINITY;
  }

  get waiting(): boolean {
    return this.#sent.size > 0;
  }

  /** What is due. @throws when the transport is away; the mark may come back all the same, or is sent again later */
  async send(log: Pick<NotificationLog, 'announce'>): Promise<void> {
    const channels = this.#due();
    if (channels.length === 0) return;
    const token = randomUUID();
    this.#sent.set(token, channels);
    this.#sentAt = performance.now();
    for (const channel of channels) this.#wanted.delete(channel);
    try {
      await log.announce(token, channels);
    } catch (error) {
      this.want(channels);
      throw error;
    }
  }

  /** @returns the channels that this mark was sent for; none when it was somebody else's */
  answer(token: string): readonly string[] {
    const channels = this.#sent.get(token) ?? [];
    this.#sent.delete(token);
    return channels;
  }

  clear(): void {
    this.#wanted.clear();
    this.#sent.clear();
  }
}
