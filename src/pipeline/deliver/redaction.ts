import { createKeptTextRedactor, redactDeep } from '../../actions/kept-redaction.ts';
import type { Settlement } from '../../transport/contract.ts';

/**
 * Takes the secrets of the rules out of what is kept of an attempt: whatever an action put into its request (a key that a
 * body needs) and whatever a receiver echoes. The one place for it: history, dead letters, logs and events are all made
 * from what comes out here.
 */
export function createSettlementRedactor(secrets: readonly string[]): (settlement: Settlement) => Settlement {
  const text = createKeptTextRedactor(secrets);
  const nullable = (value: string | null) => (value === null ? null : text(value));
  return (settlement) => {
    const { errorClass, errorMessage, responseExcerpt, request, hold } = settlement;
    // Most attempts succeed and leave nothing to look through.
    if (errorClass === null && errorMessage === null && responseExcerpt === null && request === undefined)
      return settlement;
    return {
      ...settlement,
      errorClass: nullable(errorClass),
      errorMessage: nullable(errorMessage),
      responseExcerpt: nullable(responseExcerpt),
      request: request === undefined ? undefined : redactDeep(request, text),
      ...(hold?.kind === 'disabled' && { hold: { ...hold, reason: text(hold.reason) } }),
    };
  };
}
