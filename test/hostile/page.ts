import { readFileSync, writeFileSync } from 'node:fs';
import { chapters, type HostileCase } from './cases.ts';
import { elsewhere } from './elsewhere.ts';

/*
 * The tables of docs/receivers.md, made of the cases that are run. `npx tsx test/hostile/page.ts` writes them;
 * page.test.ts sees to it that they are what was run.
 */

export const page = new URL('../../docs/receivers.md', import.meta.url).pathname;

const markers = /(<!-- matrix: npx tsx test\/hostile\/page\.ts -->\n).*(<!-- end of matrix -->)/s;

/** @throws Error when the page has no place for them */
export function withTables(text: string): string {
  if (!markers.test(text)) throw new Error('docs/receivers.md has no markers for the matrix');
  return text.replace(markers, (_, begin: string, end: string) => `${begin}\n${tables()}\n\n${end}`);
}

function tables(): string {
  const ofCases = chapters.map(({ title, cases }) =>
    [
      `### ${title}`,
      '',
      '| The receiver | Try it | Attempts in the history | In the end |',
      '|---|---|---|---|',
      ...cases.map((one) => `| ${one.title} | ${tryIt(one)} | ${attemptsOf(one)} | ${endOf(one)} |`),
    ].join('\n'),
  );
  const others = [
    '### Beyond one answer',
    '',
    '| What happens | What pg-observers does |',
    '|---|---|',
    ...elsewhere.map(({ title, does }) => `| ${title} | ${does} |`),
  ].join('\n');
  return [...ofCases, others].join('\n\n');
}

const places: Readonly<Record<NonNullable<HostileCase['at']>, string>> = {
  good: '`--tls good`',
  'self-signed': '`--tls self-signed`',
  expired: '`--tls expired`',
  'wrong-host': '`--tls wrong-host`',
  'client-certificate': '`--tls client-certificate`',
  refused: '',
  blackhole: '',
  'unknown-host': '',
};

function tryIt({ at, path }: HostileCase): string {
  if (at !== undefined) return places[at];
  if (path === undefined) return '';
  return `\`${path.length <= 60 ? path : `${path.slice(0, 50)}…`}\``;
}

/** `http_503` twice: `http_503` ×2. */
function attemptsOf({ attempts }: HostileCase): string {
  const runs: { what: string; times: number }[] = [];
  for (const what of attempts) {
    const last = runs.at(-1);
    if (last?.what === what) last.times += 1;
    else runs.push({ what, times: 1 });
  }
  return runs.map(({ what, times }) => `\`${what}\`${times > 1 ? ` ×${times}` : ''}`).join(', ');
}

const ends = {
  delivered: 'delivered',
  waiting: 'waits',
  exhausted: 'tried again until the attempts are used up, then a dead letter (`exhausted`)',
  rejected: 'a dead letter at once (`rejected`)',
  engine_fault: 'a dead letter at once (`engine_fault`), nothing is sent',
} as const;

const holds = {
  paused: 'waits; the destination is paused for all instances',
  disabled: 'waits; the destination is disabled until a person enables it',
} as const;

function endOf({ end, hold, says }: HostileCase): string {
  const text = hold === undefined ? ends[end] : holds[hold];
  return says === undefined ? text : `${text}; says “${says}”`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  writeFileSync(page, withTables(readFileSync(page, 'utf8')));
}
