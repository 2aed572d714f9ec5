import { causeOf, depthOf } from '../../domain/causation.ts';
import type { Scope, Template } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { SqlAction, SqlDestination } from '../../domain/rules.ts';
import type { SqlDatabase, SqlStatement } from '../../domain/sql.ts';
import type { ActionServices, ActionType, AttemptContext, DestinationClient } from '../contract.ts';
import { delivered, internalFault, timedOut } from '../outcomes.ts';
import { createRedactor, describeText, secretsOfUrl } from '../redaction.ts';
import { sqlOutcome } from './sql-outcome.ts';

/** A statement in the observed database, committed together with the settlement of its delivery, or in another one. */
export const sql = {
  kind: 'sql',
  open: (destination: SqlDestination, services: ActionServices) => new SqlClient(destination, services),
} satisfies ActionType<SqlDestination, SqlAction, SqlStatement>;

class SqlClient implements DestinationClient<SqlAction, SqlStatement> {
  readonly #database: SqlDatabase;
  readonly #role: string | null;
  /** Here an effect and its settlement are one transaction. */
  readonly #observed: boolean;
  readonly #redact: (text: string) => string;

  constructor({ database, role, concurrency }: SqlDestination, services: ActionServices) {
    this.#database = services.openDatabase(database, concurrency);
    this.#role = role;
    this.#observed = database === null;
    this.#redact = createRedactor(database !== null && URL.canParse(database) ? secretsOfUrl(new URL(database)) : []);
  }

  render({ statement }: SqlAction, scope: Scope): SqlStatement {
    const values = statement.parameters.map((parameter) => parameterOf(parameter, scope));
    // A replay begins to count anew: somebody looked at it and wants it done.
    const depth = scope.delivery?.replay === true ? 0 : depthOf(scope.record);
    return { text: statement.text, values, role: this.#role, cause: causeOf(scope.record, depth) };
  }

  async send(statement: SqlStatement, attempt: AttemptContext): Promise<Outcome> {
    const { place } = this.#database;
    const { deadline, timeoutMs, settlement } = attempt;
    if (deadline.passed) return timedOut(place, attempt);
    try {
      const settle = this.#observed && settlement !== undefined ? settlement : null;
      const result = await this.#database.run(statement, deadline.signal, timeoutMs, settle);
      if (result.kind === 'done') return delivered(null, result.tag);
      return sqlOutcome(result, place, attempt, this.#redact);
    } catch (error) {
      return internalFault(place, error, this.#redact);
    }
  }

  describe({ text, values, role }: SqlStatement): unknown {
    return {
      database: this.#database.place,
      ...(role !== null && { role }),
      statement: describeText(text),
      parameters: values.map((value) => (value === null ? null : describeText(value))),
    };
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}

/**
 * As PostgreSQL reads it: a number digit for digit, `true`, a text as it is, a list or an object as JSON, null as NULL.
 * What type that is, the statement decides.
 */
function parameterOf(parameter: Template, scope: Scope): string | null {
  const json = parameter.renderJson(scope);
  if (json === 'null') return null;
  return json.startsWith('"') ? (JSON.parse(json) as string) : json;
}
