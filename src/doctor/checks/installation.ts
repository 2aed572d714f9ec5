import { type DatabaseFacts, isUnknown } from '../facts.ts';
import { type Check, ok, problem, warning } from '../finding.ts';

const several = (names: readonly string[], shown = 3): string =>
  names.length <= shown ? names.join(', ') : `${names.slice(0, shown).join(', ')} and ${names.length - shown} more`;

const steps = ({ plan }: DatabaseFacts, kind: 'migrations' | 'capture') =>
  plan === null || isUnknown(plan) ? [] : plan.filter((step) => (step.kind === 'migrate') === (kind === 'migrations'));

/** What `apply` has put into the database, and whether this role may do its part. */
export const installationChecks: readonly Check<DatabaseFacts>[] = [
  {
    name: 'migrations',
    judge: (facts) => {
      const { plan } = facts;
      if (plan === null) return null;
      if (isUnknown(plan)) return problem(plan.failed, 'correct what it says, then run `pg-observers doctor` again');
      const pending = steps(facts, 'migrations');
      if (pending.length === 0) return ok('the database is migrated');
      const installed = !isUnknown(facts.rights) && facts.rights.installed;
      return problem(
        installed ? `${pending.length} migrations are pending` : 'our tables are not there yet',
        'run `pg-observers apply` (`run` does it, too, unless --no-apply)',
      );
    },
  },
  {
    name: 'triggers',
    judge: (facts) => {
      if (facts.plan === null || isUnknown(facts.plan)) return null;
      const differing = steps(facts, 'capture');
      if (differing.length === 0) return ok('the triggers are as the rules say');
      // Before the first `apply` there is one remedy, and it is said already.
      if (steps(facts, 'migrations').length > 0 && differing.every(({ kind }) => kind === 'create')) return null;
      return problem(
        several(differing.map(({ subject, reason }) => `${subject}: ${reason}`)),
        'see `pg-observers plan`, then run `pg-observers apply`',
      );
    },
  },
  { name: 'rights', judge: rights },
  {
    name: 'retention-rights',
    judge: ({ rights }) => {
      if (isUnknown(rights) || !rights.installed || rights.owns_log) return null;
      return warning(
        `${rights.role} does not own observers.events and observers.attempts: it can neither make nor drop their partitions`,
        'run as the role that applied, or grant that role to this one',
      );
    },
  },
  {
    name: 'default-partitions',
    judge: ({ usedDefaults }) => {
      if (usedDefaults === null) return null;
      if (isUnknown(usedDefaults))
        return warning(`not looked at: ${usedDefaults.failed}`, 'run it as the role that applied');
      if (usedDefaults.length === 0) return ok('the default partitions are empty');
      return warning(
        `${several(usedDefaults.map(({ name, oldest }) => `${name} holds rows since ${oldest}`))}: retention drops whole days, and these are in none`,
        'keep one instance running as the owner of the tables; it makes the days ahead, and later rows go there',
      );
    },
  },
];

function rights(facts: DatabaseFacts) {
  const { rights, plan } = facts;
  if (isUnknown(rights))
    return problem(`rights can't be read: ${rights.failed}`, 'see docs/operations.md, Database rights');
  const { role } = rights;
  const applied = rights.installed && plan !== null && !isUnknown(plan) && plan.length === 0;
  if (applied || plan === null || isUnknown(plan)) return rightsToRun(facts);
  if (!rights.installed && !rights.create_in_database)
    return problem(
      `${role} may not create a schema in this database`,
      `as its owner: grant create on database … to ${role}, or run \`pg-observers apply\` there and \`run --no-apply\` here`,
    );
  if (!rights.owns_schema)
    return problem(
      `${role} does not own the schema observers, so it can't apply`,
      'run `pg-observers apply` as the role that owns it',
    );
  if (rights.no_trigger_on.length > 0)
    return problem(
      `${role} may not create triggers on ${several(rights.no_trigger_on)}`,
      `as the owner: grant trigger on ${rights.no_trigger_on[0]} to ${role}`,
    );
  return ok(`${role} may apply`);
}

function rightsToRun({ rights }: DatabaseFacts) {
  if (isUnknown(rights)) return null;
  const { role, installed, missing_to_run: missing } = rights;
  if (!installed) return null;
  if (missing.length === 0) return ok(`${role} may run`);
  return problem(
    `${role} lacks ${several(missing)}`,
    `as the owner: grant usage on schema observers to ${role}; grant select, insert, update, delete on all tables in schema observers to ${role}`,
  );
}
