import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startSlackReceiver } from '../../src/receivers/slack-receiver.ts';
import { startSmtpReceiver } from '../../src/receivers/smtp-receiver.ts';
import { noPgbouncer, startPgbouncer } from '../support/pgbouncer.ts';
import { type ProcessEnd, runProgram } from '../support/processes.ts';
import { apply, createRole, createShop, receiver, shopRules } from './shop.ts';
import { rulesFile, startSidecar } from './support.ts';

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly message: string;
  readonly remedy: string | null;
}

const findings = ({ stdout }: ProcessEnd): Finding[] => JSON.parse(stdout).findings;
const of = (end: ProcessEnd, check: string) => findings(end).filter((finding) => finding.check === check);
/** But the round trip: on a busy machine it takes as long as to a distant server. */
const worrying = (end: ProcessEnd) =>
  findings(end).flatMap(({ check, level }) => (level === 'ok' || check === 'round-trip' ? [] : [`${level} ${check}`]));

test('doctor on a database before apply, after it, while it runs, and after somebody meddled', async () => {
  const database = await createShop('doctor');
  const hooks = await receiver();
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url }));
  const doctor = () => runProgram(['doctor', '-c', rules, '--json']);

  const before = await doctor();
  expect([before.status, ...worrying(before)]).toEqual([1, 'problem migrations']);

  await apply(rules);
  const applied = await doctor();
  expect([applied.status, ...worrying(applied)]).toEqual([0, 'warning instances']);

  await startSidecar(rules);
  const running = await runProgram(['doctor', '-c', rules]);
  expect(running).toMatchObject({ status: 0, stderr: '' });
  expect(running.stdout).toContain(`${rules} is valid: 1 source, 1 observer, 1 destination\n`);
  expect(running.stdout).toMatch(/ {2}ok {7}notifications +notifications arrive\n/);
  expect(running.stdout).toMatch(/ {2}ok {7}hook +127\.0\.0\.1:\d+ answers in \d+ ms\n/);
  expect(running.stdout).toMatch(/\n\d+ ok, (0 warnings|1 warning), 0 problems\.\n$/);
  expect(worrying(await doctor())).toEqual([]);
  expect(hooks.received.total).toBe(0);

  await database.query('alter table public.orders disable trigger zz_pg_observers_orders_insert');
  await database.query(
    `insert into observers.events (source, operation, created_at) values ('orders', 'insert', '2001-01-01')`,
  );
  const meddled = await doctor();
  expect(meddled.status).toBe(1);
  expect(worrying(meddled)).toEqual(expect.arrayContaining(['problem triggers', 'warning default-partitions']));
  expect(of(meddled, 'triggers')[0]?.message).toContain('was disabled');
  // Six runs of the program: on a busy machine they take more than the usual time.
}, 120_000);

test('rights: a role that may nothing, and one that may run', async () => {
  const database = await createShop('doctor_rights');
  const rules = await rulesFile(shopRules({ database: database.url, url: 'http://127.0.0.1:9/' }));
  const role = await createRole(database, '');
  const doctor = () => runProgram(['doctor', '-c', rules, '--database', role.url, '--json']);
  expect(of(await doctor(), 'rights')).toMatchObject([
    { level: 'problem', message: expect.stringContaining('may not create a schema') },
  ]);
  await apply(rules);
  const denied = await doctor();
  expect(denied.status).toBe(1);
  expect(
    of(denied, 'rights')
      .concat(of(denied, 'migrations'))
      .some(({ level }) => level === 'problem'),
  ).toBe(true);
  await database.query(`grant usage on schema observers to ${role.name};
    grant select, insert, update, delete on all tables in schema observers to ${role.name};
    grant usage on all sequences in schema observers to ${role.name}`);
  const granted = await doctor();
  expect(of(granted, 'rights')).toMatchObject([{ level: 'ok', message: `${role.name} may run` }]);
  expect(of(granted, 'retention-rights')).toMatchObject([{ level: 'warning' }]);
});

test.skipIf(noPgbouncer !== null)('a pooler in transaction mode is in the way', async () => {
  const database = await createShop('doctor_pooler');
  const pooled = await startPgbouncer(database.url, { settings: { ignore_startup_parameters: 'options' } });
  const rules = await rulesFile(shopRules({ database: pooled, url: 'http://127.0.0.1:9/' }));
  const end = await runProgram(['doctor', '-c', rules, '--json']);
  expect(of(end, 'sessions')).toMatchObject([{ level: 'problem', remedy: expect.stringContaining('direct_database') }]);
  const past = await runProgram(['doctor', '-c', rules, '--json'], {
    env: { PG_OBSERVERS_DIRECT_DATABASE: database.url },
  });
  expect(of(past, 'sessions')).toMatchObject([{ level: 'ok' }]);
  expect(of(past, 'same-database')).toMatchObject([{ level: 'ok' }]);
});

test('a file with mistakes and a database that is away are findings, too', async () => {
  const bad = await rulesFile('version: 1\nsources: { a: { tabel: b } }\n');
  const end = await runProgram(['doctor', '-c', bad, '-d', 'postgres://me:geheim-wort@127.0.0.1:9/x', '--json']);
  expect(end.status).toBe(1);
  expect(findings(end).some(({ message }) => message.startsWith(`${bad}:2:17  `))).toBe(true);
  expect(of(end, 'reachable')).toMatchObject([
    { level: 'problem', message: expect.stringContaining('is not reachable') },
  ]);
  expect(end.stdout).not.toContain('geheim-wort');
});

const pem = (name: string) => readFileSync(new URL(`../actions/tls/${name}`, import.meta.url), 'utf8');
const secret = `whsec_${Buffer.from('a secret of the doctor test, 32!').toString('base64')}`;

async function destinations() {
  const secure = (name: string) => receiver({ tls: { key: pem(`${name}.key`), cert: pem(`${name}.crt`) } });
  const [good, expired] = await Promise.all([secure('server'), secure('expired')]);
  const mail = await startSmtpReceiver({ auth: { user: 'mailer', pass: 'mail-geheim' } });
  const slack = await startSlackReceiver();
  onTestFinished(async () => {
    await mail.close();
    await slack.close();
  });
  const rules = await rulesFile(`
version: 1
database: postgres://127.0.0.1:9/x
sources: { t: { topic: t } }
destinations:
  good: { webhook: { url: "${good.url}", secret: "${secret}", tls: { ca: "\${file:ca.pem}" } } }
  expired: { webhook: { url: "${expired.url}", tls: { ca: "\${file:ca.pem}" } } }
  mail: { email: { smtp: "${mail.url}", from: Shop <shop@example.com> } }
  wrong: { email: { smtp: "${mail.url.replace('mail-geheim', 'falsch-geheim')}", from: a@example.com } }
  team: { slack: { token: xoxb-team-geheim, api_url: "${slack.apiUrl}" } }
  stranger: { slack: { token: nope-geheim-1, api_url: "${slack.apiUrl}" } }
observers:
  o: { source: t, actions: [{ webhook: good }, { log: hi }] }
`);
  await writeFile(join(dirname(rules), 'ca.pem'), pem('authority.crt'));
  return { rules, good, mail, slack };
}

test('destinations are tried without sending anything, and no secret is shown', async () => {
  const { rules, good, mail, slack } = await destinations();
  const names = ['good', 'expired', 'mail', 'wrong', 'team', 'stranger', 'log'];
  const end = await runProgram(['doctor', '-c', rules, '--json', '--destination', ...names]);
  expect(end.status).toBe(1);
  expect(findings(end).map(({ check, level }) => [check, level])).toEqual([
    ['good', 'ok'],
    ['expired', 'problem'],
    ['mail', 'ok'],
    ['wrong', 'problem'],
    ['team', 'ok'],
    ['stranger', 'problem'],
    ['log', 'ok'],
  ]);
  expect(of(end, 'good')[0]?.message).toContain('its certificate is valid');
  expect(of(end, 'expired')[0]?.message).toContain('its certificate has expired');
  expect(of(end, 'mail')[0]?.message).toContain('it takes the login');
  expect(of(end, 'wrong')[0]?.message).toContain('it refuses the login (535)');
  expect(of(end, 'team')[0]?.message).toContain("the token is bot's in Local");
  expect(of(end, 'stranger')[0]?.message).toContain('it refuses the token: invalid_auth');
  expect(end.stdout + end.stderr).not.toMatch(/geheim|whsec_/);
  expect([good.received.total, mail.received.total, slack.received.total]).toEqual([0, 0, 0]);
  const unknown = await runProgram(['doctor', '-c', rules, '--destination', 'god']);
  expect(unknown).toMatchObject({ status: 2, stderr: expect.stringContaining('did you mean good?') });
});

test('--send-test sends what says that it is a test, signed, after asking', async () => {
  const { rules, good, mail, slack } = await destinations();
  const command = [
    'doctor',
    '-c',
    rules,
    '--json',
    '--send-test',
    '--destination',
    'good',
    'mail',
    'team',
    '--channel',
    '#ops',
  ];
  const asked = await runProgram(command);
  expect(asked).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining('pass --yes') });
  expect(good.received.total).toBe(0);

  const end = await runProgram([...command, '--yes']);
  expect(findings(end).map(({ level }) => level)).toEqual(Array(6).fill('ok'));
  expect(end.status).toBe(0);
  const [hook] = good.received.entries;
  expect(hook?.headers['x-pg-observers-test']).toBe('true');
  expect(JSON.parse(hook?.body ?? '')).toMatchObject({
    type: 'pg_observers_test.emit',
    data: { payload: { test: true } },
  });
  const headers = join(dirname(rules), 'headers.json');
  const body = join(dirname(rules), 'body');
  await Promise.all([writeFile(headers, JSON.stringify(hook?.headers)), writeFile(body, hook?.body ?? '')]);
  const verified = await runProgram(
    ['webhook', 'verify', '--secret', 'env:SECRET', '--headers', headers, '--body', body],
    { env: { SECRET: secret } },
  );
  expect(verified).toMatchObject({ status: 0, stdout: expect.stringContaining('valid: signed') });
  expect(mail.received.entries).toMatchObject([
    { envelope: { to: ['shop@example.com'] }, subject: 'Test by pg-observers doctor' },
  ]);
  expect(slack.received.entries).toMatchObject([{ channel: '#ops', text: expect.stringContaining('This is a test') }]);
});
