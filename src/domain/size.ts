/** Sizes on disk as people write them; bytes inside. */

const sizes: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

export const sizeHint = 'write a number and a unit: 500MB, 50GB, 1.5TB, 64GiB';

/** `50GB`, `1.5TiB` → whole bytes; null when it isn't a size. */
export function parseSize(text: string): number | null {
  const match = /^(\d{1,15}(?:\.\d{1,9})?) ?([kMGT]?B|[KMGT]iB)$/.exec(text);
  if (match === null) return null;
  return Math.round(Number(match[1]) * (sizes[match[2] ?? ''] ?? 0));
}

/** For people, in three digits: 51234567890 → `51.2 GB`. */
export function formatSize(bytes: number): string {
  for (const unit of ['TB', 'GB', 'MB', 'kB']) {
    const count = bytes / (sizes[unit] ?? 1);
    if (count >= 1) return `${count >= 100 ? Math.round(count) : Number(count.toPrecision(3))} ${unit}`;
  }
  return `${bytes} B`;
}
