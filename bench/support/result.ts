/**
 * What a case hands back. Samples are per round: the contenders of a row take turns, so the n-th samples of two figures met the
 * same minute of the machine, and ratios are taken pair by pair.
 */

import { median } from './figures.ts';

/** ours: pg-observers; rival: somebody else doing the same job; limit: what the machine allows, nothing durable or nothing done. */
export type Role = 'ours' | 'rival' | 'limit';

export interface Figure {
  /** Who, as `pg-observers` or `graphile-worker 0.18.0`. */
  readonly name: string;
  readonly role: Role;
  /** What, as `50 in flight`; figures with the same one are compared. */
  readonly what: string;
  /** As `deliveries/s`, `ms`. */
  readonly unit: string;
  /** One per round. */
  readonly samples: readonly number[];
}

export interface Goal {
  /** As `≥ 2× the better rival, 50 in flight`. */
  readonly text: string;
  /** What was measured, one per round. */
  readonly samples: readonly number[];
  readonly unit: string;
  readonly bound: { readonly atLeast: number } | { readonly atMost: number };
}

export interface CaseResult {
  readonly number: number;
  readonly title: string;
  readonly figures: readonly Figure[];
  readonly goals: readonly Goal[];
  /** Which of its `what`s the chart shows. */
  readonly shown: readonly string[];
  /** What a reader must know to judge the figures. */
  readonly notes: readonly string[];
}

export interface Report {
  readonly measuredAt: string;
  readonly commit: string;
  readonly machine: string;
  /** Load average of the minute before: above 1, something else was running. */
  readonly load: number;
  readonly node: string;
  readonly postgres: string;
  readonly rivals: Readonly<Record<string, string>>;
  readonly scale: Scale;
  readonly rounds: number;
  readonly cases: readonly CaseResult[];
  /** Rows that ended with an error, such as a row that did not arrive. */
  readonly failed: readonly { readonly number: number; readonly message: string }[];
}

/** full: what the documentation shows; quick: while working on something; smoke: whether it runs at all. */
export type Scale = 'full' | 'quick' | 'smoke';

export function isReached({ samples, bound }: Goal): boolean {
  const measured = median(samples);
  return 'atLeast' in bound ? measured >= bound.atLeast : measured <= bound.atMost;
}

/** Pair by pair. */
export function ratios(one: readonly number[], other: readonly number[]): number[] {
  return one.map((value, round) => value / (other[round] ?? Number.NaN));
}

/** Round by round the best, or the least, of several. */
export function bestOf(figures: readonly Figure[], better: 'higher' | 'lower'): number[] {
  const [first] = figures;
  const pick = better === 'higher' ? Math.max : Math.min;
  return first === undefined
    ? []
    : first.samples.map((_, i) => pick(...figures.map((f) => f.samples[i] ?? Number.NaN)));
}

/** Collects one sample after the other, under the figure they belong to. */
export class Samples {
  readonly #figures = new Map<string, Figure & { samples: number[] }>();

  add(figure: Omit<Figure, 'samples'>, sample: number): void {
    const key = `${figure.name}\n${figure.what}\n${figure.unit}`;
    const found = this.#figures.get(key);
    if (found === undefined) this.#figures.set(key, { ...figure, samples: [sample] });
    else found.samples.push(sample);
  }

  get figures(): Figure[] {
    return [...this.#figures.values()];
  }

  /** Of one contender, its first figure: empty when it did not take part. */
  of(name: string, what: string): number[] {
    return (this.figures.find((figure) => figure.name === name && figure.what === what)?.samples as number[]) ?? [];
  }

  withRole(role: Role, what: string): Figure[] {
    return this.figures.filter((figure) => figure.role === role && figure.what === what);
  }
}
