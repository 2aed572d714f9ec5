import type { Config } from '../domain/rules.ts';

/** Piped output has no width; this one keeps its lines readable. */
export const widthWhenPiped = 120;
const narrowest = 40;
/** Where the long words of outcomes, and the kind of a destination, have room. */
const roomy = 108;

/** A line in columns: time, event, observer → destination, outcome. The last one is what gives way. */
export interface Cells {
  readonly time: string;
  readonly event: string;
  readonly observer: string;
  readonly destination: string;
  readonly outcome: string;
}

export interface PaddedCells extends Cells {
  readonly arrow: string;
}

export class Layout {
  readonly width: number;
  /** Room for the kind of a destination and for outcomes in full words. */
  readonly roomy: boolean;
  readonly #event: number;
  readonly #observer: number;
  readonly #destination: number;

  constructor(config: Config, terminalWidth: number | undefined) {
    this.width = Math.max(narrowest, terminalWidth ?? widthWhenPiped);
    this.roomy = this.width >= roomy;
    const longest = (texts: readonly string[]) => Math.max(...texts.map((text) => text.length));
    this.#event = this.roomy ? 30 : 20;
    this.#observer = longest([...config.observers.keys()]);
    this.#destination = longest(
      [...config.destinations.values()].map(({ kind, name }) => this.destination(kind, name)),
    );
  }

  destination(kind: string, name: string): string {
    return this.roomy ? `${kind} ${name}` : name;
  }

  /** Every cell as wide as its column, the whole at most as wide as the terminal. */
  fit({ time, event, observer, destination, outcome }: Cells): PaddedCells {
    let room = this.width;
    const take = (text: string, width: number) => {
      const taken = cut(text, Math.max(0, Math.min(width, room))).padEnd(Math.max(0, Math.min(width, room)));
      room -= taken.length;
      return taken;
    };
    const column = (text: string, width: number) => take(text.length > width ? cut(text, width) : text, width + 2);
    return {
      time: column(time, 8),
      event: column(event, this.#event),
      observer: take(observer, this.#observer),
      arrow: take(destination === '' ? '' : ' → ', 3),
      destination: column(destination, this.#destination),
      outcome: cut(outcome, room),
    };
  }

  /** A line without a destination: what stands behind the event has the rest of it. */
  fitShort(time: string, event: string, rest: string): string {
    return cut(`${time.padEnd(10)}${cut(event, this.#event).padEnd(this.#event + 2)}${rest}`, this.width);
  }

  /** The words in lines of at most `width`; words longer than that (URLs) stay whole, cut they would be useless. */
  wrap(text: string, width: number): string[] {
    const lines: string[] = [];
    for (const word of text.split(' ')) {
      const last = lines.at(-1);
      if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
      else lines.push(word);
    }
    return lines;
  }
}

export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}${width > 0 ? '…' : ''}`;
}
