/** Durations and rates as people write them; milliseconds inside. */

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export const durationHint = 'write a number and a unit: 500ms, 10s, 5m, 2h, 7d';
export const rateHint = 'write a whole number per unit: 100/s, 6000/m, 10/h';

/** `100ms`, `1.5s`, `7d` → whole milliseconds; null when it isn't a duration. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d)$/.exec(text);
  if (match === null) return null;
  return Math.round(Number(match[1]) * (unitMs[match[2] ?? ''] ?? 0));
}

/** The shortest exact way to write it: 600000 → `10m`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = unitMs[unit] ?? 1;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

/** `100/s` → { count: 100, perMs: 1000 }; null when it isn't a rate. */
export function parseRate(text: string): { readonly count: number; readonly perMs: number } | null {
  const match = /^(\d{1,9})\/(s|m|h)$/.exec(text);
  if (match === null) return null;
  return Object.freeze({ count: Number(match[1]), perMs: unitMs[match[2] ?? ''] ?? 1_000 });
}
