/**
 * What was found, in a line: a check looks at facts that were gathered before and says what they mean. Gathering (questions to the database,
 * connections to destinations) is apart, so that what is a problem and what to do about it can be read, and tested, without either.
 */

export type Level = 'ok' | 'warning' | 'problem';

export interface Finding {
  readonly area: 'configuration' | 'database' | 'installation' | 'running' | 'destinations';
  /** Stable, for programs: `server-version`; for a destination its name. */
  readonly check: string;
  readonly level: Level;
  readonly message: string;
  /** What to do; null when there is nothing to do. */
  readonly remedy: string | null;
}

/** What a check says; where it belongs, the list says. */
export interface Verdict {
  readonly level: Level;
  readonly message: string;
  readonly remedy: string | null;
}

export const ok = (message: string): Verdict => ({ level: 'ok', message, remedy: null });
export const warning = (message: string, remedy: string): Verdict => ({ level: 'warning', message, remedy });
export const problem = (message: string, remedy: string): Verdict => ({ level: 'problem', message, remedy });

export interface Check<Facts> {
  readonly name: string;
  /** null: the facts say nothing about it. */
  readonly judge: (facts: Facts) => Verdict | null;
}

export function findings<Facts>(area: Finding['area'], checks: readonly Check<Facts>[], facts: Facts): Finding[] {
  return checks.flatMap(({ name, judge }) => {
    const verdict = judge(facts);
    return verdict === null ? [] : [{ area, check: name, ...verdict }];
  });
}
