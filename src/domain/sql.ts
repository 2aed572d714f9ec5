import type { Cause } from './causation.ts';
import type { Template } from './expression.ts';

/** One SQL statement whose `${{ }}` have become parameters: no value is ever part of its text. */
export interface StatementTemplate {
  /** With $1, $2, … */
  readonly text: string;
  /** Of $1, $2, … in order. */
  readonly parameters: readonly Template[];
}

/** A statement to run, in a transaction of its own. */
export interface SqlStatement {
  readonly text: string;
  /** As PostgreSQL reads them; null is NULL. The statement decides on their types. */
  readonly values: readonly (string | null)[];
  /** Becomes its role for this transaction; null: the one that logged in. */
  readonly role: string | null;
  /** What the events of this transaction say about where they come from. */
  readonly cause: Cause;
}

export type SqlResult =
  /** Committed. `tag`: what PostgreSQL says it did, as `INSERT 0 1`. */
  | { readonly kind: 'done'; readonly tag: string }
  /** Rolled back, because the delivery was no longer this instance's. */
  | { readonly kind: 'fenced' }
  /** Rolled back; when the connection was lost while committing, nobody here knows. `sqlState` null: it never got to the server, or no answer came. */
  | {
      readonly kind: 'failed';
      readonly sqlState: string | null;
      readonly message: string;
      readonly detail: string | null;
      readonly error: unknown;
    };

/** Where the statements of `sql` actions run. */
export interface SqlDatabase {
  /** host:port/database, for messages. */
  readonly place: string;
  /**
   * Runs it and commits. Never rejects, and ends when `cut` says so.
   *
   * @param timeoutMs after which the server itself ends it
   * @param settlement what is settled in the same transaction, asked for with the tag when the statement has succeeded;
   * null: nothing
   */
  run(
    statement: SqlStatement,
    cut: AbortSignal,
    timeoutMs: number,
    settlement: ((tag: string) => unknown) | null,
  ): Promise<SqlResult>;
  /** Idempotent. */
  close(): Promise<void>;
}
