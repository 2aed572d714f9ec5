import { type DatabaseFacts, isUnknown } from '../facts.ts';
import { type Check, ok, problem, type Verdict, warning } from '../finding.ts';

/** Milliseconds: by then others have taken its work (twice the default of settings.instance_timeout). */
const silentMs = 20_000;
/** Milliseconds. */
const longLag = 60_000;
const longTransaction = 60_000;

const seconds = (ms: number): string =>
  ms < 120_000 ? `${Math.round(ms / 1_000)} s` : `${Math.round(ms / 60_000)} min`;

/** A check of what `status` reads. */
const ofStatus = (
  name: string,
  judge: (status: Exclude<DatabaseFacts['status'], null | { failed: string }>, facts: DatabaseFacts) => Verdict | null,
): Check<DatabaseFacts> => ({
  name,
  judge: (facts) => (facts.status === null || isUnknown(facts.status) ? null : judge(facts.status, facts)),
});

/** What goes on, now. */
export const runningChecks: readonly Check<DatabaseFacts>[] = [
  {
    name: 'status',
    judge: ({ status }) =>
      isUnknown(status)
        ? warning(`not looked at: ${status.failed}`, 'run it as a role that may read the schema observers')
        : null,
  },
  {
    name: 'checkpoint',
    judge: ({ checkpoint, config }) => {
      if (checkpoint === null) return null;
      if (isUnknown(checkpoint))
        return warning(`not looked at: ${checkpoint.failed}`, 'run it as the role that applied');
      if (!checkpoint.same_cluster)
        return problem(
          'this database was restored or copied into another cluster: which events are routed already is unknown',
          'decide with `pg-observers checkpoint reset --to <time|event-id|now>` (--dry-run counts), after pg_upgrade with --xids-preserved',
        );
      const { environment } = checkpoint;
      const configured = config?.settings.environment ?? null;
      if (environment === null || configured === null || environment === configured)
        return ok('the checkpoint is of this cluster');
      return problem(
        `this database belongs to the environment ${environment}, and the file says ${configured}: is it a copy?`,
        'correct settings.environment, or adopt the database (docs/operations.md, Restoring, cloning, failing over)',
      );
    },
  },
  ofStatus('instances', ({ instances }) => {
    if (instances.length === 0)
      return warning('no instance is running: events wait in the log', 'start one: `pg-observers run`');
    const silent = instances.filter((one) => one.silent_ms > silentMs);
    const [first] = silent;
    if (first !== undefined && silent.length === instances.length)
      return warning(
        `no instance has been heard of for ${seconds(first.silent_ms)}`,
        `look after process ${first.pid} on ${first.host}, or start another: \`pg-observers run\``,
      );
    if (!instances.some(({ routing }) => routing))
      return warning('no instance routes', 'wait a second; when it stays so, look into their logs');
    const count = instances.length - silent.length;
    return ok(`${count} ${count === 1 ? 'instance is' : 'instances are'} running`);
  }),
  ofStatus('rules', ({ instances }, { config }) => {
    if (config === null || instances.length === 0) return null;
    const others = instances.filter((one) => one.rules_version !== config.version);
    if (others.length === 0) return ok('the instances run the rules of this file');
    return warning(
      `${others.length} of ${instances.length} instances run other rules than this file`,
      'send them SIGHUP, or deploy the file there',
    );
  }),
  ofStatus('routing', ({ checkpoint }) => {
    const { lag_events: lag, lag_ms: ms } = checkpoint;
    if (lag === 0) return ok('routing is up to date');
    const behind = `routing is ${lag > 100_000 ? 'more than 100,000' : lag} events behind, the oldest from ${seconds(ms ?? 0)} ago`;
    return (ms ?? 0) < longLag
      ? ok(behind)
      : warning(behind, 'see `pg-observers status`, and the log of the instance that routes');
  }),
  {
    name: 'long-transactions',
    judge: ({ checkpoint, server }) => {
      if (checkpoint === null || isUnknown(checkpoint)) return null;
      const [longest] = checkpoint.held_back_by;
      const openForMs = longest?.since == null ? 0 : server.now_ms - new Date(longest.since).getTime();
      if (longest === undefined || openForMs < longTransaction) return ok('no long transaction holds events back');
      const { pid, gid, application, state } = longest;
      const who =
        gid === null ? `process ${pid} (${application || 'no name'}, ${state})` : `prepared transaction ${gid}`;
      return warning(
        `${who} has written events and not ended for ${seconds(openForMs)}: they wait for it, and no others`,
        gid === null
          ? `let it commit, or end it: select pg_terminate_backend(${pid})`
          : `commit prepared '${gid}', or roll it back`,
      );
    },
  },
  ofStatus('held', ({ held_destinations: held }) => {
    const [first] = held;
    if (first === undefined) return null;
    return warning(
      `${held.length === 1 ? `destination ${first.destination} is` : `${held.length} destinations, ${first.destination} among them, are`} sent nothing${first.reason === null ? '' : `: ${first.reason}`}`,
      `see \`pg-observers destinations list\`, then \`pg-observers destinations enable ${first.destination}\``,
    );
  }),
  ofStatus('dead-letters', ({ dead_letters: count }) =>
    count === 0
      ? ok('no dead letters')
      : warning(
          `${count} dead ${count === 1 ? 'letter' : 'letters'}`,
          'see `pg-observers dlq stats`, then retry or discard them',
        ),
  ),
];
