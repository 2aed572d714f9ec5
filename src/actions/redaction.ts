import { cutUtf8 } from './excerpt.ts';

/** Stands where a secret was. */
export const redacted = '[redacted]';

/** Shorter values than this are not searched for: they occur by chance, and redacting `1` would tear every text. */
const shortestSecret = 6;

/** A function that takes these secrets out of a text, e.g. of an answer in which a receiver echoes its request. */
export function createRedactor(secrets: readonly string[]): (text: string) => string {
  const searched = [...new Set(secrets)]
    .filter((secret) => secret.length >= shortestSecret)
    // The longest first: a secret that contains another one goes as a whole.
    .sort((one, other) => other.length - one.length);
  if (searched.length === 0) return (text) => text;
  return (text) => searched.reduce((rest, secret) => rest.replaceAll(secret, redacted), text);
}

/** The URL without credentials, and with the values (not the names) of its query hidden. */
export function redactUrl(url: URL): string {
  const query = [...url.searchParams.keys()].map((name) => `${encodeURIComponent(name)}=${redacted}`).join('&');
  return `${url.protocol}//${url.host}${url.pathname}${query === '' ? '' : `?${query}`}`;
}

/** Everything in the URL that lets its holder in: password, user and query values, as written and decoded. */
export function secretsOfUrl(url: URL): string[] {
  const written = [
    url.password,
    url.username,
    ...url.search
      .replace(/^\?/, '')
      .split('&')
      .map((pair) => pair.slice(pair.indexOf('=') + 1)),
  ];
  return [...written, ...written.map(decode), ...url.searchParams.values()];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Longest body that a dead letter keeps, as UTF-8. */
const describedBytes = 16 * 1024;

/**
 * A body for a dead letter: parsed JSON where that changes nothing, otherwise its text. `JSON.parse` would round a number
 * beyond 2^53 and drop the zeros of 100.00, and a dead letter must show what was sent.
 */
export function describeJson(body: string): unknown {
  if (body.length * 3 > describedBytes && Buffer.byteLength(body) > describedBytes) return describeText(body);
  try {
    const value: unknown = JSON.parse(body);
    return JSON.stringify(value) === body ? value : body;
  } catch {
    return body;
  }
}

/** At most 16 KiB of the text, with a mark where it was cut. */
export function describeText(text: string): string {
  const kept = cutUtf8(text, describedBytes - Buffer.byteLength(cutMark));
  return kept.length === text.length || Buffer.byteLength(text) <= describedBytes ? text : kept + cutMark;
}
const cutMark = ' … [cut]';
