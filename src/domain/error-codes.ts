/**
 * The codes of errors that are meant for people: stable, to search for and to act on in scripts. Each has an entry in docs/errors.md, and
 * test/docs/errors.test.ts holds both against each other. Kinds of remedies rather than of causes: what asks for the same thing shares one.
 */
export const errorCodes = [
  'PGO-BUG',
  'PGO-CHECKPOINT',
  'PGO-CONFIG',
  'PGO-CONFIRM',
  'PGO-COPY',
  'PGO-DEAD-LETTER',
  'PGO-DESTINATION',
  'PGO-EMBEDDED',
  'PGO-ENVIRONMENT',
  'PGO-EVENT',
  'PGO-FAILED',
  'PGO-FILE',
  'PGO-FILE-EXISTS',
  'PGO-INTERRUPTED',
  'PGO-KEY',
  'PGO-LOCKED',
  'PGO-LOGIN',
  'PGO-MODULE',
  'PGO-NEWER',
  'PGO-NO-DATABASE',
  'PGO-NOT-APPLIED',
  'PGO-OBSERVER',
  'PGO-OLD-SERVER',
  'PGO-PACKAGES',
  'PGO-POOLER',
  'PGO-PORT',
  'PGO-RESTART',
  'PGO-RIGHTS',
  'PGO-SOURCE',
  'PGO-STANDBY',
  'PGO-TWO-DATABASES',
  'PGO-UNREACHABLE',
  'PGO-USAGE',
] as const;

export type ErrorCode = (typeof errorCodes)[number];
