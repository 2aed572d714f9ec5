import { ExpressionError, type Scope } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { LogAction, LogDestination } from '../../domain/rules.ts';
import type { ActionLogged } from '../../domain/telemetry.ts';
import type { ActionServices, ActionType, AttemptContext, DestinationClient } from '../contract.ts';
import { delivered, timedOut } from '../outcomes.ts';
import { describeText } from '../redaction.ts';

type LogRequest = Omit<ActionLogged, 'type'>;

/** A line of the process's own log. It can't fail: whoever reads logs has them, or has other worries. */
export const log = {
  kind: 'log',
  open: (destination: LogDestination, services: ActionServices) => new LogClient(destination, services),
} satisfies ActionType<LogDestination, LogAction, LogRequest>;

class LogClient implements DestinationClient<LogAction, LogRequest> {
  readonly #destination: string;
  readonly #services: ActionServices;

  constructor({ name }: LogDestination, services: ActionServices) {
    this.#destination = name;
    this.#services = services;
  }

  render(action: LogAction, scope: Scope): LogRequest {
    return {
      level: action.level,
      message: describeText(action.message.renderText(scope)),
      fields: action.fields === null ? null : asFields(action.fields.render(scope)),
      destination: this.#destination,
      observer: scope.delivery?.observer ?? null,
      action: action.name,
      event: scope.record,
    };
  }

  async send(request: LogRequest, attempt: AttemptContext): Promise<Outcome> {
    if (attempt.deadline.passed) return timedOut('the log', attempt);
    this.#services.log(request);
    return delivered(null, null);
  }

  describe({ level, message, fields }: LogRequest): unknown {
    return { level, message, ...(fields !== null && { fields }) };
  }

  async close(): Promise<void> {}
}

function asFields(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ExpressionError('fields: not a mapping', 'fields');
}
