import { UserError } from '../../domain/errors.ts';

/** What goes wrong with a database, and how we speak of it. */

export const readOnly = '25006';

/** At start a mistake; while running, a failover that is not over yet. */
export class StandbyError extends UserError {
  constructor() {
    super('This server is a standby: point `database:` at the primary.', 1, { code: 'PGO-STANDBY' });
  }
}

/**
 * SQLSTATE of a database error, or undefined for anything else. Only what a server says has a severity; to ask for pg's class
 * would load the driver for commands that have nothing to do with a database.
 */
export function sqlState(error: unknown): string | undefined {
  return error instanceof Error && 'severity' in error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

/**
 * True when waiting may help: the server is away, starting, stopping, out of connections, read-only (a failover in
 * progress), out of disk, or killed our session.
 */
export function isTransient(error: unknown): boolean {
  const state = sqlState(error);
  if (state === undefined) return error instanceof StandbyError || isNetworkError(error);
  if (refusesSettings(error)) return false;
  return /^(08|53|57P|40|55P03)/.test(state) || state === readOnly || state === '57014' || state === '58030';
}

function isNetworkError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? String(error.code) : '';
  if (/^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ENOENT|EACCES)/.test(code)) return true;
  if (error instanceof AggregateError) return error.errors.some(isNetworkError);
  return /connection (terminated|ended|error)|timeout exceeded|timeout expired|not queryable|client was closed/i.test(
    error.message,
  );
}

/** PgBouncer, to what `connectionConfig` asks for. */
function refusesSettings(error: unknown): boolean {
  return sqlState(error) === '08P01' && /unsupported startup parameter/i.test(describeError(error));
}

/** A connection error as a person needs it: which server, what it said, what to do. Never the password. */
export function unreachable(url: string, error: unknown): UserError {
  const reason = describeError(error);
  const state = sqlState(error);
  const where = redactUrl(url);
  if (state === '28P01' || state === '28000') {
    return new UserError(`${where} refuses the login: ${reason}. Check user and password in \`database:\`.`, 3, {
      cause: error,
      code: 'PGO-LOGIN',
    });
  }
  if (refusesSettings(error)) {
    return new UserError(
      `${where} is a pooler that refuses the settings of a session: ${reason}. Give \`direct_database:\` (or PG_OBSERVERS_DIRECT_DATABASE) a URL that leads to the server itself; ` +
        '`database:` may then stay as it is. In session mode, PgBouncer also does with `ignore_startup_parameters = options`.',
      2,
      { cause: error, code: 'PGO-POOLER' },
    );
  }
  if (state === '3D000')
    return new UserError(`${where}: ${reason}. Create it, or correct \`database:\`.`, 3, {
      cause: error,
      code: 'PGO-NO-DATABASE',
    });
  return new UserError(`${where} is not reachable: ${reason}. Is the server running, and is \`database:\` right?`, 3, {
    cause: error,
  });
}

/** `AggregateError` (localhost over IPv4 and IPv6) has an empty message of its own. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return describeError(error.errors[0]);
  return error instanceof Error ? error.message || error.name : String(error);
}

/** host:port/database without user and password. */
export function redactUrl(url: string): string {
  try {
    const parsed = new URL(url);
    return `PostgreSQL at ${parsed.hostname || parsed.searchParams.get('host') || 'localhost'}:${parsed.port || '5432'}${parsed.pathname}`;
  } catch {
    return 'PostgreSQL';
  }
}
