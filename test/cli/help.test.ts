import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { examples } from '../../src/cli/examples.ts';
import { buildProgram, commandLine } from '../../src/cli/program.ts';

const program = await buildProgram();
const all = walk(program);

function walk(command: Command): Command[] {
  return [command, ...command.commands.flatMap(walk)];
}

/** What `--help` prints, with what stands behind the options. */
function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

describe.each(all.map((command) => [commandLine(command), command] as const))('%s', (_, command) => {
  test('says in a sentence what it does', () => {
    expect(command.description()).toMatch(/^[A-Z].{10,}/);
    expect(command.description().length).toBeLessThan(130);
  });

  test('has an example', () => {
    expect(helpOf(command)).toMatch(/\nExamples?:\s+\S*pg-observers|\nExamples?:\n/);
  });

  test('explains its options and arguments', () => {
    const mute = [...command.options.filter(({ hidden }) => !hidden), ...command.registeredArguments].filter(
      ({ description }) => description.length < 3,
    );
    expect(mute.map((one) => ('flags' in one ? one.flags : one.name()))).toEqual([]);
  });
});

test('a default is printed as one would write it: a time in words, not as milliseconds', () => {
  const bare = all.flatMap((command) =>
    command.options
      .filter((option) => option.argParser !== undefined && option.flags.includes('<duration>'))
      .filter(({ defaultValue, defaultValueDescription: words }) => defaultValue !== undefined && words === undefined)
      .map(({ flags }) => `${commandLine(command)} ${flags}`),
  );
  expect(bare).toEqual([]);
});

test('every command of the first level stands in a group', () => {
  expect(
    program.commands
      .filter((command) => command.helpGroup() === undefined || command.helpGroup() === '')
      .map(commandLine),
  ).toEqual([]);
});

const written = Object.entries(examples).flatMap(([of, lines]) => lines.map((line) => [of, line] as const));

test('examples are of commands that there are', () => {
  const names = all.map(commandLine);
  expect(Object.keys(examples).filter((name) => !names.includes(name))).toEqual([]);
});

test.each(written)('%s: `%s` names commands and options that there are', (_, line) => {
  for (const part of line.split(/&&|[<>]\(?/).filter((one) => one.includes('pg-observers '))) {
    const words = part
      .trim()
      .replaceAll(/"[^"]*"/g, 'x')
      .replace(/\).*$/, '')
      .replace(/^.*?pg-observers /, '')
      .split(/\s+/);
    let command = program;
    while (words[0] !== undefined) {
      const below = command.commands.find((sub) => sub.name() === words[0]);
      if (below === undefined) break;
      command = below;
      words.shift();
    }
    expect(command).not.toBe(program);
    const flags = words.filter((word) => word.startsWith('--'));
    const known = command.options.flatMap(({ long }) => long ?? []);
    expect(flags.filter((flag) => !known.includes(flag))).toEqual([]);
  }
});
