/**
 * Errors meant for the person at the keyboard: what happened, where, what to do. Everything else is a bug and keeps its
 * stack trace.
 */
export class UserError extends Error {
  override readonly name: string = 'UserError';
  /** 1 failed, 2 wrong usage or configuration, 3 not reachable. */
  readonly exitStatus: 1 | 2 | 3;

  constructor(message: string, exitStatus: 1 | 2 | 3 = 1, options?: ErrorOptions) {
    super(message, options);
    this.exitStatus = exitStatus;
  }
}

export interface ConfigProblem {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based. */
  readonly column: number;
  readonly message: string;
  /** "did you mean …?", or what to do. */
  readonly hint: string | null;
}

/** All that is wrong with a configuration, at once. */
export class ConfigError extends UserError {
  override readonly name = 'ConfigError';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(formatProblem).join('\n'), 2);
    this.problems = problems;
  }
}

export function formatProblem(problem: ConfigProblem): string {
  const hint = problem.hint === null ? '' : `  (${problem.hint})`;
  return `${problem.file}:${problem.line}:${problem.column}  ${problem.message}${hint}`;
}
