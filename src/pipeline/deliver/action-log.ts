import type { ActionServices } from '../../actions/contract.ts';
import { createKeptTextRedactor, redactDeep } from '../../actions/kept-redaction.ts';
import type { Config } from '../../domain/rules.ts';
import type { Telemetry } from '../../domain/telemetry.ts';

/** What actions have to say, on its way to whoever keeps the log: without the secrets of the rules as they are now. */
export class ActionLog {
  readonly #telemetry: Telemetry;
  #redact: (text: string) => string = (text) => text;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  load({ secrets }: Config): void {
    this.#redact = createKeptTextRedactor(secrets);
  }

  readonly write: ActionServices['log'] = ({ message, fields, ...entry }) => {
    this.#telemetry({
      ...entry,
      type: 'action.logged',
      message: this.#redact(message),
      fields: fields === null ? null : (redactDeep(fields, this.#redact) as Record<string, unknown>),
    });
  };
}
