/** How far a long command is: a bar on a terminal, a line now and then elsewhere. On stderr, so that stdout is the result. */
export class Progress {
  readonly #what: string;
  readonly #began = performance.now();
  readonly #bar = process.stderr.isTTY === true;
  #shownAt = performance.now();

  /** @param what of which there is progress: `events` */
  constructor(what: string) {
    this.#what = what;
  }

  /** @param share in [0, 1] @param count done so far */
  show(share: number, count: number): void {
    const now = performance.now();
    if (now - this.#shownAt < (this.#bar ? 100 : 5_000)) return;
    this.#shownAt = now;
    const perSecond = Math.round(count / ((now - this.#began) / 1_000));
    const text = `${Math.floor(share * 100)} %  ${count} ${this.#what}  ${perSecond}/s`;
    if (!this.#bar) return void process.stderr.write(`${text}\n`);
    const filled = Math.round(share * 30);
    process.stderr.write(`\r\u001b[K${'█'.repeat(filled)}${'░'.repeat(30 - filled)}  ${text}`);
  }

  end(): void {
    if (this.#bar) process.stderr.write('\r\u001b[K');
  }
}
