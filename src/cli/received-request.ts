import { LosslessNumber, parse, stringify } from 'lossless-json';
import pc from 'picocolors';
import type { Verdict } from '../actions/webhook/verification.ts';
import { answerInWords } from '../receivers/behaving-answer.ts';
import type { Arrival } from '../receivers/behaving-receiver.ts';

/** Of the connection, and the same in every request. */
const dull = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'accept', 'accept-encoding']);

/** What lets one in is none of the terminal's business, nor that of a log it is piped to. */
const hidden = /^(?:authorization|proxy-authorization|cookie)$|api-?key|token|secret|password/;

/** Longest body that is printed whole, in characters. */
const longestBody = 4_000;

/** The signature, when there are keys to check it with. */
export interface SignatureCheck {
  readonly verdict: Verdict;
  /** Of the key that fits. */
  readonly fingerprint: string | null;
}

export function requestText(arrival: Arrival, signature: SignatureCheck | null): string {
  const { number, method, path, messageId, attempt, body, answer } = arrival;
  const which = messageId === null ? '' : pc.dim(`  attempt ${attempt} of ${printable(messageId)}`);
  const headers = shownHeaders(arrival).map(([name, value]) => `  ${pc.dim(`${name}:`)} ${printable(value)}`);
  return [
    `${pc.bold(`#${number} ${method} ${printable(path)}`)}${which}  → ${answerInWords(answer)}`,
    ...headers,
    ...(signature === null ? [] : [`  ${signatureText(signature)}`]),
    ...(body.length === 0 ? [] : bodyText(body).map((line) => `  ${line}`)),
  ].join('\n');
}

/** One line. */
export function requestJson(arrival: Arrival, signature: SignatureCheck | null): string {
  const { number, method, path, messageId, attempt, body, receivedAt, answer } = arrival;
  const verdict = signature?.verdict ?? null;
  return JSON.stringify({
    number,
    method,
    path,
    message_id: messageId,
    attempt,
    received_at: new Date(receivedAt).toISOString(),
    headers: Object.fromEntries(shownHeaders(arrival)),
    signature:
      verdict === null
        ? null
        : { valid: verdict.valid, ...(verdict.valid ? { key: signature?.fingerprint } : { reason: verdict.reason }) },
    body: body.toString('utf8'),
    answer: answerInWords(answer),
  });
}

function shownHeaders({ headers }: Arrival): [string, string][] {
  return Object.entries(headers).flatMap(([name, value]): [string, string][] => {
    if (dull.has(name) || value === undefined) return [];
    const text = Array.isArray(value) ? value.join(', ') : value;
    return [[name, hidden.test(name) ? withoutCredential(name, text) : text]];
  });
}

/** The scheme is worth knowing. */
function withoutCredential(name: string, text: string): string {
  const [, scheme] = name.endsWith('authorization') ? (/^([A-Za-z0-9-]+) /.exec(text) ?? []) : [];
  return scheme === undefined ? '[hidden]' : `${scheme} [hidden]`;
}

function signatureText({ verdict, fingerprint }: SignatureCheck): string {
  if (verdict.valid) return pc.green(`signature valid: key ${fingerprint}, ${verdict.ageSeconds} s old`);
  return pc.red(`signature not valid: ${verdict.message}`);
}

function bodyText(body: Buffer): string[] {
  const text = pretty(body.toString('utf8'));
  const shown = text.length <= longestBody ? text : `${text.slice(0, longestBody)}… (${body.length} bytes)`;
  return shown.split('\n').map(printable);
}

/** JSON with its digits as they came; everything else as it is. */
function pretty(text: string): string {
  try {
    return (
      stringify(
        parse(text, undefined, (digits) => new LosslessNumber(digits)),
        undefined,
        2,
      ) ?? text
    );
  } catch {
    return text;
  }
}

/** What was sent must not move the cursor of whoever looks at it. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  return text.replaceAll(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g, '\ufffd');
}
