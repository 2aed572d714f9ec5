import type { ErrorCode } from './error-codes.ts';

export interface UserErrorOptions extends ErrorOptions {
  /** Default: the general one of the exit status. */
  readonly code?: ErrorCode;
}

const generalCodes = { 1: 'PGO-FAILED', 2: 'PGO-USAGE', 3: 'PGO-UNREACHABLE' } as const;

/**
 * Errors meant for the person at the keyboard: what happened, where, what to do. Everything else is a bug and keeps its
 * stack trace.
 */
export class UserError extends Error {
  override readonly name: string = 'UserError';
  /** 1 failed, 2 wrong usage or configuration, 3 not reachable. */
  readonly exitStatus: 1 | 2 | 3;
  /** Where docs/errors.md says more. */
  readonly code: ErrorCode;

  constructor(message: string, exitStatus: 1 | 2 | 3 = 1, options?: UserErrorOptions) {
    super(message, options);
    this.exitStatus = exitStatus;
    this.code = options?.code ?? generalCodes[exitStatus];
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

  /** @param code `PGO-SOURCE`: the file is right in itself, but not for this database */
  constructor(problems: readonly ConfigProblem[], code: 'PGO-CONFIG' | 'PGO-SOURCE' = 'PGO-CONFIG') {
    super(problems.map(formatProblem).join('\n'), 2, { code });
    this.problems = problems;
  }
}

export function formatProblem(problem: ConfigProblem): string {
  const hint = problem.hint === null ? '' : `  (${problem.hint})`;
  return `${problem.file}:${problem.line}:${problem.column}  ${problem.message}${hint}`;
}
