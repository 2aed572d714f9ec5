import pc from 'picocolors';
import type { TestResult } from '../rehearsal/rule-test.ts';
import { conditionLines } from './explanation.ts';

export function resultsText(file: string, results: readonly TestResult[]): string {
  const failed = results.filter(({ failures }) => failures.length > 0).length;
  const total = `${results.length} ${results.length === 1 ? 'test' : 'tests'}`;
  const sum =
    failed === 0
      ? pc.green(`${total} passed`)
      : pc.red(`${total}: ${results.length - failed} passed, ${failed} failed`);
  return [...results.map((result) => line(file, result)), '', sum].join('\n');
}

function line(file: string, result: TestResult): string {
  const { name, position } = result.test;
  if (result.failures.length === 0) return `${pc.green('✓')} ${name}`;
  return `${pc.red('✗')} ${name}  ${pc.dim(`${file}:${position.line}:${position.column}`)}\n${indented(failureText(result), 4)}`;
}

/** What is otherwise than expected, line by line. */
export function failureText({ failures }: TestResult): string {
  return failures
    .flatMap(({ message, condition, differences }) => [
      message,
      ...(condition === null ? [] : conditionLines(condition).map((text) => `  ${text}`)),
      ...differences.flatMap(({ path, expected, actual }) => [
        `  ${path === '' ? 'the whole' : path}`,
        pc.green(`    expected  ${expected}`),
        pc.red(`    is        ${actual ?? '(absent)'}`),
      ]),
    ])
    .join('\n');
}

export function resultsJson(file: string, results: readonly TestResult[]): string {
  const failed = results.filter(({ failures }) => failures.length > 0).length;
  const tests = results.map(({ test, failures }) => ({
    name: test.name,
    line: test.position.line,
    passed: failures.length === 0,
    failures,
  }));
  return JSON.stringify({ file, passed: results.length - failed, failed, tests }, null, 2);
}

const indented = (text: string, by: number) => text.replaceAll(/^/gm, ' '.repeat(by));
