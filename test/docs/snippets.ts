import { readdirSync, readFileSync } from 'node:fs';

/*
 * What stands in fenced blocks of README.md and docs/*.md. All of it is checked; the words behind the language say how:
 *
 *     yaml               a configuration, or some of its top-level keys (the others come from shop.ts)
 *     yaml file=NAME     the same, and the commands below it find it under this name
 *     yaml refused       is refused with exactly the messages of the `text` block below it
 *     yaml conditions    a list of { when, fires } on the page's sample event
 *     yaml tests         tests of rules, as `pg-observers test` reads them
 *     yaml templates     a list of { template, becomes, in } on the page's sample event
 *     json               parses
 *     json event         the page's sample event, for `cel`, `conditions` and `templates`
 *     cel                EXPRESSION // its value as JSON, `error`, or `refused`
 *     sh, sql            runs, in the order of the page, on a database of its own
 *     sh background      goes on running till the end of the page
 *     js, js file=NAME   runs, or is a program that a test starts
 *     python             functions that a test calls
 *     … no-run           is only looked at by people
 */
export interface Snippet {
  /** From the repository's root. */
  readonly file: string;
  /** Of its first line of content. */
  readonly line: number;
  readonly language: string;
  readonly words: readonly string[];
  readonly text: string;
}

const root = new URL('../../', import.meta.url).pathname;

export const pages: readonly string[] = [
  'README.md',
  ...readdirSync(`${root}docs`)
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`)
    .sort(),
];

export function readPage(file: string): string {
  return readFileSync(root + file, 'utf8');
}

export function snippetsOf(file: string): Snippet[] {
  return extractSnippets(file, readPage(file));
}

/** @throws Error when a block is never closed */
export function extractSnippets(file: string, markdown: string): Snippet[] {
  const snippets: Snippet[] = [];
  const lines = markdown.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const [, indent, info] = /^( *)```(.*)$/.exec(lines[i] ?? '') ?? [];
    if (indent === undefined || info === undefined) continue;
    const end = lines.findIndex((line, j) => j > i && line.trim() === '```');
    if (end === -1) throw new Error(`${file}:${i + 1}  this block is never closed`);
    const [language = '', ...words] = info.trim().split(/\s+/);
    const text = lines.slice(i + 1, end).map((line) => line.slice(indent.length));
    snippets.push({ file, line: i + 2, language, words, text: `${text.join('\n')}\n` });
    i = end;
  }
  return snippets;
}

/** The value of `key=value` behind the language. */
export function wordOf(snippet: Snippet, key: string): string | null {
  return snippet.words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1) ?? null;
}

export function isRun(snippet: Snippet): boolean {
  return !snippet.words.includes('no-run');
}

/** `docs/rules.md:17`, for the names of tests. */
export function place({ file, line }: Snippet): string {
  return `${file}:${line}`;
}
