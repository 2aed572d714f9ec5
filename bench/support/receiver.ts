import { type Child, startChild } from './child.ts';

export type ReceiverCommand = { readonly type: 'reset'; readonly answers: number } | { readonly type: 'report' };

export type ReceiverReport = { readonly type: 'first' } | ({ readonly type: 'arrivals' } & Arrivals);

/** Times are monotonic milliseconds of this host. */
export interface Arrivals {
  readonly requests: number;
  readonly answered: number;
  readonly badSignatures: number;
  readonly inFlight: number;
  readonly mostInFlight: number;
  readonly firstAt: number;
  readonly lastAnsweredAt: number;
  /** First arrival by `<key> <path>`. */
  readonly arrivedAt: readonly (readonly [string, number])[];
}

/** A key for all contenders: who does the same job signs, too. */
export const secret = `whsec_${Buffer.from('a secret of thirty-two bytes, ok').toString('base64')}`;

export class Receiver {
  readonly url: string;
  readonly #child: Child;

  static async start(): Promise<Receiver> {
    const script = new URL('receiver-process.ts', import.meta.url).pathname;
    const args = ['--import', 'tsx', script];
    const { child, line } = await startChild(process.execPath, args, /^listening on/, { WEBHOOK_SECRET: secret });
    return new Receiver(child, Number(line.split(' ').at(-1)));
  }

  private constructor(child: Child, port: number) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}`;
  }

  /**
   * Forgets what it had, and waits for so many answered requests.
   * @param onFirst called when the first request comes in
   */
  expect(answers: number, onFirst?: () => void): { readonly arrivals: Promise<Arrivals> } {
    const arrivals = this.#next(onFirst);
    this.#child.process.send({ type: 'reset', answers });
    return { arrivals };
  }

  /** What has arrived so far. */
  report(): Promise<Arrivals> {
    const arrivals = this.#next();
    this.#child.process.send({ type: 'report' });
    return arrivals;
  }

  #next(onFirst?: () => void): Promise<Arrivals> {
    const { process } = this.#child;
    return new Promise((resolve, reject) => {
      const listen = (report: ReceiverReport) => {
        if (report.type === 'first') return onFirst?.();
        process.off('message', listen);
        if (report.badSignatures === 0) resolve(report);
        else reject(new Error(`${report.badSignatures} signatures were wrong`));
      };
      process.on('message', listen);
    });
  }

  async stop(): Promise<void> {
    await this.#child.stop();
  }
}

/** @throws unless every row arrived, with how often they did */
export function requireAll({ arrivedAt, requests }: Arrivals, rows: number): void {
  if (arrivedAt.length !== rows)
    throw new Error(`${arrivedAt.length} of ${rows} rows arrived, in ${requests} requests`);
}
