import { closest, distance } from 'fastest-levenshtein';

/** The candidate a person most likely meant, or null when none is near. */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  const all = [...candidates];
  if (all.length === 0 || word.length > 100) return null;
  const best = closest(word.toLowerCase(), all);
  const reach = Math.max(1, Math.floor(Math.max(word.length, best.length) * 0.4));
  const edits = distance(word.toLowerCase(), best.toLowerCase());
  return edits <= reach && edits < word.length ? best : null;
}

export function didYouMean(word: string, candidates: Iterable<string>): string | null {
  const best = nearest(word, candidates);
  return best === null ? null : `did you mean ${best}?`;
}

/** `a`, `b` or `c` */
export function listed(words: readonly string[], conjunction: 'or' | 'and' = 'or'): string {
  const quoted = words.map((word) => `\`${word}\``);
  const last = quoted.pop() ?? '';
  return quoted.length === 0 ? last : `${quoted.join(', ')} ${conjunction} ${last}`;
}
