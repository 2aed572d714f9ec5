import type { Fault } from './checker.ts';

export type FaultKind = Omit<Fault, 'startAt' | 'endAt'>;

/** Every fault with its beginning and its end, by this machine's clock, for the checker to know what was in flight. */
export class FaultLog {
  readonly #faults: Fault[] = [];
  readonly #open = new Map<symbol, { kind: FaultKind; startAt: number }>();
  readonly #say: (text: string) => void;

  constructor(say: (text: string) => void = () => {}) {
    this.#say = say;
  }

  /** A fault that lasts as long as `act` does. Also when that fails. */
  async during<T>(kind: FaultKind, act: () => Promise<T>): Promise<T> {
    const end = this.begin(kind);
    try {
      return await act();
    } finally {
      end();
    }
  }

  /** @returns the function that ends it; called twice it does nothing */
  begin(kind: FaultKind): () => void {
    const key = Symbol(kind.kind);
    this.#open.set(key, { kind, startAt: Date.now() });
    this.#say(
      `${kind.kind}${kind.instance === undefined ? '' : ` of instance ${kind.instance}`}${kind.note ? ` (${kind.note})` : ''}`,
    );
    return () => {
      const begun = this.#open.get(key);
      if (begun === undefined) return;
      this.#open.delete(key);
      this.#faults.push({ ...begun.kind, startAt: begun.startAt, endAt: Date.now() });
    };
  }

  /** One that is noticed when it is over. */
  add(fault: Fault): void {
    this.#faults.push(fault);
  }

  count(kind: string): number {
    return this.all().filter((fault) => fault.kind === kind).length;
  }

  /** By beginning; what is still open ends now. */
  all(): readonly Fault[] {
    const now = Date.now();
    const open = [...this.#open.values()].map(({ kind, startAt }) => ({ ...kind, startAt, endAt: now }));
    return [...this.#faults, ...open].sort((a, b) => a.startAt - b.startAt);
  }
}
