import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { EventRecord } from '../../src/domain/event.ts';
import { ExpressionError, type Scope, type TemplateMode } from '../../src/domain/expression.ts';
import { deliveryFields, eventFields, functionNames, variables } from '../../src/expression/environment.ts';
import { CompileError, compileCondition, compileTemplate, compileTree, fires } from '../../src/expression/index.ts';
import { scope } from '../expression/record.ts';
import { pages, place, readPage, type Snippet, snippetsOf } from './snippets.ts';

const all = pages.flatMap(snippetsOf);

interface Sample extends Pick<EventRecord, 'operation'> {
  readonly new?: unknown;
  readonly old?: unknown;
  readonly payload?: unknown;
  readonly context?: unknown;
}

/** The sample event above the block, numbers as they are written there. */
function sampleFor(snippet: Snippet): Scope {
  const before = all.slice(0, all.indexOf(snippet)).filter(({ file }) => file === snippet.file);
  const sample = before.findLast(({ language, words }) => language === 'json' && words.includes('event'));
  if (sample === undefined) throw new Error(`${place(snippet)}: no \`json event\` above it`);
  const { operation } = JSON.parse(sample.text) as Sample;
  const image = (name: 'new' | 'old' | 'payload' | 'context') =>
    new RegExp(`^ *"${name}": (.*?),?$`, 'm').exec(sample.text)?.[1] ?? null;
  return scope({
    operation,
    new: image('new'),
    old: image('old'),
    payload: image('payload'),
    context: image('context'),
  });
}

const blocksOf = (wanted: (snippet: Snippet) => boolean) =>
  all.filter(wanted).map((snippet) => [place(snippet), snippet] as const);

describe('expressions', () => {
  it.each(blocksOf(({ language }) => language === 'cel'))('%s evaluate to what the page says', (_, snippet) => {
    const lines = snippet.text.split('\n').filter((line) => line.trim() !== '');
    const [said, seen]: [string[], string[]] = [[], []];
    for (const line of lines) {
      const cut = line.lastIndexOf(' // ');
      const source = line.slice(0, cut).trim();
      said.push(`${source} // ${line.slice(cut + 4)}`);
      seen.push(`${source} // ${resultOf(source, sampleFor(snippet))}`);
    }
    expect(seen).toEqual(said);
  });
});

function resultOf(source: string, on: Scope): string {
  try {
    return compileTemplate(`\${{ ${source} }}`, 'plain').renderJson(on);
  } catch (error) {
    if (error instanceof CompileError) return 'refused';
    if (error instanceof ExpressionError) return 'error';
    throw error;
  }
}

describe('conditions', () => {
  it.each(blocksOf(({ words }) => words.includes('conditions')))('%s fire as the page says', (_, snippet) => {
    const on = sampleFor(snippet);
    for (const { when, fires: said } of parse(snippet.text) as { when: unknown; fires: boolean }[]) {
      const condition = typeof when === 'string' ? compileCondition(when) : compileTree(when);
      expect([when, fires(condition.evaluate(on))]).toEqual([when, said]);
    }
  });
});

describe('templates', () => {
  interface Example {
    readonly template: unknown;
    readonly becomes: unknown;
    readonly in?: TemplateMode;
  }
  it.each(blocksOf(({ words }) => words.includes('templates')))('%s become what the page says', (_, snippet) => {
    const on = sampleFor(snippet);
    for (const { template, becomes, in: mode } of parse(snippet.text) as Example[]) {
      const rendered = compileTemplate(template, mode ?? 'plain');
      const seen = mode === undefined ? rendered.render(on) : rendered.renderText(on);
      expect([template, seen]).toEqual([template, becomes]);
    }
  });
});

describe('docs/expressions.md', () => {
  const text = readPage('docs/expressions.md');
  /** Not meant for anybody: switched off, a detail of ours, or CEL's older name for one that is there. */
  const silent = ['bind', 'yearDay', 'lowerAscii', 'upperAscii'];

  it('has every function and variable that there is', () => {
    const functions = [...functionNames].filter((name) => /^[a-z]/i.test(name) && !silent.includes(name));
    expect(functions.filter((name) => !new RegExp(`\\b${name}\\(`).test(text))).toEqual([]);
    expect(variables.filter((name) => !new RegExp(`^\\|[^|]*\`${name}\``, 'm').test(text))).toEqual([]);
    const fields = [...Object.keys(eventFields), ...Object.keys(deliveryFields)];
    expect(fields.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });

  it('has an example of each', () => {
    const examples = all.filter(({ file, language }) => file === 'docs/expressions.md' && language === 'cel');
    const shown = examples.map((snippet) => snippet.text).join('\n');
    const functions = [...functionNames].filter((name) => /^[a-z]/i.test(name) && ![...silent, 'raw'].includes(name));
    expect(functions.filter((name) => !new RegExp(`\\b${name}\\(`).test(shown))).toEqual([]);
  });

  it('has no function that there is not', () => {
    const table = text.slice(text.indexOf('## Functions'), text.indexOf('```cel', text.indexOf('## Functions')));
    const named = [...table.matchAll(/`[^`]*?\b([A-Za-z_]\w*)\(/g)].map((match) => match[1] ?? '');
    expect(named.length).toBeGreaterThan(40);
    expect(named.filter((name) => !functionNames.has(name))).toEqual([]);
  });
});
