import type { DatabaseFacts } from '../facts.ts';
import { isUnknown } from '../facts.ts';
import { type Check, ok, problem, warning } from '../finding.ts';

const oldest = 14;
/** The newest that the tests run on. */
const newest = 18;
/** Milliseconds. Each attempt costs a few round trips, and batches hide them up to here. */
const longRoundTrip = 20;
/** Milliseconds. */
const clocksApart = 2_000;
/** What one process opens at most. */
const ourConnections = 10;

/** The server itself. */
export const serverChecks: readonly Check<DatabaseFacts>[] = [
  {
    name: 'server-version',
    judge: ({ server }) => {
      const major = Math.floor(server.version_number / 10_000);
      if (major < oldest)
        return problem(
          `PostgreSQL ${server.version} is too old`,
          `upgrade the server to PostgreSQL ${oldest} or newer`,
        );
      if (major > newest)
        return warning(
          `PostgreSQL ${server.version} is newer than what this version was tested on (${oldest} to ${newest})`,
          'look for a newer pg-observers, or try it on a copy first',
        );
      return ok(`PostgreSQL ${server.version}`);
    },
  },
  {
    name: 'primary',
    judge: ({ server }) =>
      server.standby
        ? problem('this server is a standby, where nothing can be observed', 'point `database:` at the primary')
        : ok('this server is a primary'),
  },
  {
    name: 'round-trip',
    judge: ({ server }) => {
      const took = `a round trip takes ${server.round_trip_ms.toFixed(1)} ms`;
      if (server.round_trip_ms <= longRoundTrip) return ok(took);
      return warning(took, 'run the sidecar closer to the database: each delivery waits for several round trips');
    },
  },
  {
    name: 'wal-level',
    judge: ({ server }) =>
      ok(`wal_level is ${server.wal_level}: it does not matter, triggers need no logical decoding`),
  },
  {
    name: 'connections',
    judge: ({ server }) => {
      const free = server.max_connections - server.reserved_connections - server.connections;
      const use = `${server.connections} of ${server.max_connections} connections are in use`;
      if (free >= ourConnections) return ok(use);
      return (free <= 0 ? problem : warning)(
        `${use}, ${server.reserved_connections} are reserved: a process of ours opens up to ${ourConnections}`,
        'raise max_connections, or let applications go through a pooler',
      );
    },
  },
  {
    name: 'notification-queue',
    judge: ({ server }) => {
      const full = `the notification queue is ${(server.queue_usage * 100).toFixed(server.queue_usage < 0.01 ? 0 : 1)} % full`;
      const remedy =
        'find the session that listens inside a long transaction (select pid, state, xact_start, query from pg_stat_activity order by xact_start) and end it';
      if (server.queue_usage >= 0.5) return problem(`${full}; at 100 % commits that notify fail`, remedy);
      return server.queue_usage >= 0.1 ? warning(full, remedy) : ok(full);
    },
  },
  {
    name: 'clock',
    judge: ({ server }) => {
      const apart = Math.abs(server.clock_ahead_ms);
      const what = `the clocks of this host and the database are ${apart < 1_000 ? `${Math.round(apart)} ms` : `${(apart / 1_000).toFixed(1)} s`} apart`;
      if (apart <= Math.max(clocksApart, server.round_trip_ms)) return ok(what);
      return warning(
        `${what}: deliveries go by the database's clock, but signatures carry this host's, and receivers refuse old ones`,
        'let NTP keep both clocks',
      );
    },
  },
  {
    name: 'sessions',
    judge: ({ ownSessions, config }) => {
      if (!isUnknown(ownSessions))
        return ok(
          config?.directDatabase == null ? 'no pooler shares our sessions' : '`direct_database` leads past the pooler',
        );
      return problem(
        ownSessions.failed,
        'give `direct_database:` a URL that leads to the server itself (docs/operations.md, Connections and poolers)',
      );
    },
  },
  {
    name: 'same-database',
    judge: ({ sameDatabase }) => {
      if (sameDatabase === null) return null;
      if (!isUnknown(sameDatabase)) return ok('`database` and `direct_database` lead to the same database');
      return problem(sameDatabase.failed, 'correct one of the two URLs');
    },
  },
  {
    name: 'notifications',
    judge: ({ hears }) => {
      if (hears === true) return ok('notifications arrive');
      const why = isUnknown(hears) ? `: ${hears.failed}` : '';
      return warning(
        `notifications do not arrive${why}; changes are found by polling`,
        'look for a pooler between here and the server, and give `direct_database:` a URL past it',
      );
    },
  },
];
