import { readFileSync } from 'node:fs';

export interface Sample {
  /** Seconds since the beginning. */
  readonly at: number;
  readonly phase: string;
  /** Of each process, MB. */
  readonly rss: readonly number[];
}

/** Resident memory of processes over time, in phases. Linux only: it reads /proc. */
export class Timeline {
  readonly #pids: readonly number[];
  readonly #began = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly samples: Sample[] = [];
  #phase = '';

  constructor(pids: readonly number[], everyMs: number) {
    this.#pids = pids;
    this.#timer = setInterval(() => this.#look(), everyMs);
  }

  /** @returns seconds since the beginning */
  enter(phase: string): number {
    this.#phase = phase;
    this.#look();
    return this.now();
  }

  now(): number {
    return (performance.now() - this.#began) / 1_000;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** The most that a process had in a phase, MB. */
  peak(phase: string): number {
    return Math.max(...this.samples.filter((s) => s.phase === phase).flatMap(({ rss }) => rss));
  }

  csv(): string {
    const head = ['seconds', 'phase', ...this.#pids.map((_, i) => `rss_mb_${i + 1}`)];
    const rows = this.samples.map(({ at, phase, rss }) => [at.toFixed(1), phase, ...rss.map((mb) => mb.toFixed(1))]);
    return `${[head, ...rows].map((row) => row.join(',')).join('\n')}\n`;
  }

  /** The largest process of each moment, as a chart of text: memory upwards, time to the right. */
  chart(width = 100, height = 12): string {
    const end = Math.max(1, this.samples.at(-1)?.at ?? 1);
    const columns = Array.from({ length: width }, () => 0);
    for (const { at, rss } of this.samples) {
      const x = Math.min(width - 1, Math.floor((at / end) * width));
      columns[x] = Math.max(columns[x] ?? 0, ...rss);
    }
    const top = Math.max(50, Math.ceil(Math.max(...columns) / 50) * 50);
    const lines: string[] = [];
    for (let y = height; y > 0; y--) {
      const level = (top * y) / height;
      const bars = columns.map((mb) => (mb > level - top / height / 2 ? '█' : ' ')).join('');
      lines.push(`${String(Math.round(level)).padStart(5)} │${bars}`.trimEnd());
    }
    return [`${'MB'.padStart(5)} │`, ...lines, `      └${'─'.repeat(width)}`, this.#axis(end, width)].join('\n');
  }

  /** The phases, each below the moment it began. */
  #axis(end: number, width: number): string {
    const cells = Array.from({ length: width + 24 }, () => ' ');
    let last = '';
    for (const { at, phase } of this.samples) {
      if (phase === last) continue;
      last = phase;
      const x = Math.floor((at / end) * width);
      [...`${phase} ${Math.round(at)}s`].forEach((letter, i) => {
        cells[x + i] = letter;
      });
    }
    return `       ${cells.join('')}`.trimEnd();
  }

  #look(): void {
    const rss = this.#pids.map(residentMb);
    this.samples.push({ at: this.now(), phase: this.#phase, rss });
  }
}

function residentMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kb === undefined) throw new Error(`process ${pid} has ended`);
  return Number(kb) / 1_024;
}
