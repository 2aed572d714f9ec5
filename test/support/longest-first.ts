import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * What takes longest of all, from half a minute on, or the last worker would be at it alone in the end. On a fresh checkout
 * vitest knows no times and goes by the size of files, which says little of what they wait for.
 */
const longest = [
  'docs/commands',
  'e2e/commands',
  'bench/smoke',
  'chaos/scenarios',
  'e2e/kills',
  'chaos/infrastructure',
  'demo/demo-stop',
  'chaos/mutations',
  'e2e/refusals',
  'e2e/init',
  'e2e/shutdown',
  'e2e/outage',
  'demo/demo-lost',
  'recover/retention',
  'demo/demo',
  'e2e/bulk',
  'memory/bounded',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const found = longest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return found === -1 ? longest.length : found;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}
