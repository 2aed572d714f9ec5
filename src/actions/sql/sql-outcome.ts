import type { Failure, Outcome } from '../../domain/outcome.ts';
import type { SqlResult } from '../../domain/sql.ts';
import type { AttemptContext } from '../contract.ts';
import { excerptOf } from '../excerpt.ts';
import { networkFault } from '../network-fault.ts';
import { rejected, retry, timedOut, unreachable } from '../outcomes.ts';

/**
 * SQLSTATEs that speak about the server's state and not about the statement: connection, login, serialization and
 * deadlocks, resources, operators, locks that could not be had, read-only (a failover), disk and file errors.
 */
const transient = /^(?:08|28|40|53|57|58|55P03|55006|25006|XX)/;

const queryCanceled = '57014';

/** What it means when a statement was not committed: `errorClass` is `sql_<SQLSTATE>` wherever PostgreSQL said one. */
export function sqlOutcome(
  result: Exclude<SqlResult, { kind: 'done' }>,
  place: string,
  attempt: AttemptContext,
  redact: (text: string) => string,
): Outcome {
  if (result.kind === 'fenced') {
    const message = `another instance has taken this delivery over: what was done at ${place} is rolled back`;
    return retry({ errorClass: 'fenced', message, status: null, responseExcerpt: null });
  }
  const { sqlState, message, detail, error } = result;
  if (attempt.deadline.passed && (sqlState === null || sqlState === queryCanceled)) return timedOut(place, attempt);
  if (sqlState === null) return unreachable(place, networkFault(error));
  const failure: Failure = {
    errorClass: `sql_${sqlState.toLowerCase()}`,
    message: redact(`${place} refused: ${message} (SQLSTATE ${sqlState})`),
    status: null,
    responseExcerpt: detail === null ? null : excerptOf(detail, redact),
  };
  // The class too, for policies: 23 is every kind of constraint.
  const names = [failure.errorClass, `sql_${sqlState.slice(0, 2).toLowerCase()}`];
  return transient.test(sqlState) ? retry(failure, { names }) : rejected(failure, { names });
}
