/*
 * Names of columns whose values should not leave the database unasked. A name says little: so what is left out is said in the file, and
 * leaving out one too many costs a line's edit, while leaving in one too many may cost a password.
 */

const words = new Set(
  (
    'password passwords passwd pwd pw passphrase passcode secret secrets token tokens apikey apikeys credential credentials ' +
    'privatekey card cards creditcard cardnumber cvv cvc pan iban ssn pin otp totp mfa salt'
  ).split(' '),
);

/** A key of what; `key` alone is mostly a name. */
const kindsOfKeys = new Set(['api', 'private', 'secret', 'access', 'signing', 'encryption', 'ssh', 'session', 'auth']);

const within = /passw|secret|token|credential|apikey|privatekey|creditcard|cardnumber/;

/** `password_hash`, `apiKey`, `stripe_secret`, `card_last4`. */
export function looksSensitive(column: string): boolean {
  const parts = column
    .replaceAll(/(\p{Ll}|\d)(\p{Lu})/gu, '$1_$2')
    .toLowerCase()
    .split(/[^\p{L}\d]+/u);
  const isKey = parts.some((part, i) => /^keys?$/.test(part) && kindsOfKeys.has(parts[i - 1] ?? ''));
  return isKey || parts.some((part) => words.has(part)) || within.test(parts.join(''));
}
