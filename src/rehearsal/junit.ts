import { stripVTControlCharacters } from 'node:util';
import type { TestResult } from './rule-test.ts';

/** JUnit's XML, as CI systems read it. @param describe the failures of a test in words */
export function junitXml(
  file: string,
  results: readonly TestResult[],
  describe: (result: TestResult) => string,
): string {
  const failed = results.filter(({ failures }) => failures.length > 0).length;
  const cases = results.map((result) => testCase(file, result, describe));
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites tests="${results.length}" failures="${failed}">`,
    `<testsuite name="${escaped(file)}" tests="${results.length}" failures="${failed}">`,
    ...cases,
    '</testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function testCase(file: string, result: TestResult, describe: (result: TestResult) => string): string {
  const { test, failures } = result;
  const head = `<testcase name="${escaped(test.name)}" classname="${escaped(file)}" file="${escaped(file)}" line="${test.position.line}"`;
  if (failures.length === 0) return `${head}/>`;
  const summary = failures.map(({ message }) => message).join('; ');
  return `${head}><failure message="${escaped(summary)}">${escaped(describe(result))}</failure></testcase>`;
}

/** XML has no way to write most control characters. */
function escaped(text: string): string {
  return (
    stripVTControlCharacters(text)
      .toWellFormed()
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      .replaceAll('\n', '&#10;')
  );
}
