import { createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { runProgram } from '../support/processes.ts';
import { apply, createRole, createShop, keyOf, receiver, shopRules } from './shop.ts';
import { freePort, rulesFile, startSidecar } from './support.ts';

const quiet = { env: { PG_OBSERVERS_LISTEN: 'off' } };
const nowhere = 'http://127.0.0.1:9/';

/** A server that refuses every login as PostgreSQL does; the test server may trust everybody. */
async function refusingServer(sqlState: string, message: string): Promise<string> {
  const fields = ['SFATAL', 'VFATAL', `C${sqlState}`, `M${message}`].map((field) => `${field}\0`).join('');
  const reply = Buffer.concat([Buffer.from('E\0\0\0\0'), Buffer.from(`${fields}\0`)]);
  reply.writeUInt32BE(reply.length - 1, 1);
  const server = createServer((socket: Socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(reply));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  return `postgres://ada:wrong-password-4711@127.0.0.1:${address.port}/shop`;
}

test.each(['run', 'apply', 'plan', 'status', 'dlq list'])(
  '%s: a wrong password is status 3, and says where and what to do',
  async (command) => {
    const database = await refusingServer('28P01', 'password authentication failed for user "ada"');
    const rules = await rulesFile(shopRules({ database, url: nowhere }));
    const end = await runProgram([...command.split(' '), '-c', rules], quiet);
    expect(end.status).toBe(3);
    expect(end.stderr.trim()).toMatch(
      /^PostgreSQL at 127\.0\.0\.1:\d+\/shop refuses the login: password authentication failed for user "ada"\. Check user and password in `database:`\. {2}\[PGO-LOGIN\]$/,
    );
    expect(end.stdout + end.stderr).not.toContain('wrong-password-4711');
  },
);

test.each(['run', 'apply', 'status'])('%s: a database or role that does not exist is status 3', async (command) => {
  const database = await createShop('refused_missing');
  const missing = await rulesFile(shopRules({ database: `${database.url}_missing`, url: nowhere }));
  const end = await runProgram([command, '-c', missing], quiet);
  expect(end).toMatchObject({
    status: 3,
    stderr: expect.stringMatching(
      /_missing" does not exist\. Create it, or correct `database:`\. {2}\[PGO-NO-DATABASE\]\n$/,
    ),
  });
  const url = new URL(database.url);
  url.username = 'nobody_of_that_name';
  const stranger = await runProgram([command, '-c', missing, '-d', url.href], quiet);
  expect(stranger).toMatchObject({ status: 3, stderr: expect.stringContaining('refuses the login') });
});

test.each(['apply', 'plan', 'status', 'dlq stats'])(
  '%s: a server that is away is status 3, at once',
  async (command) => {
    const rules = await rulesFile(
      shopRules({ database: `postgres://postgres@127.0.0.1:${await freePort()}/shop`, url: nowhere }),
    );
    const end = await runProgram([...command.split(' '), '-c', rules], quiet);
    expect(end).toMatchObject({
      status: 3,
      stderr: expect.stringMatching(/is not reachable: .*ECONNREFUSED.*Is the server running/),
    });
  },
);

test.each(['run', 'apply', 'plan', 'validate'])(
  '%s: all that is wrong with the rules is status 2, with positions',
  async (command) => {
    const rules = await rulesFile(`version: 1
database: \${NO_SUCH_VARIABLE}
sources: { orders: { tabel: orders } }
observers: { o: { source: order, when: "new.id >", actions: [{ webhook: nowhere }] } }
`);
    const end = await runProgram([command, '-c', rules], quiet);
    expect(end).toMatchObject({ status: 2, stdout: '' });
    const lines = end.stderr.trim().split('\n');
    for (const line of lines) expect(line.startsWith(`${rules}:`), line).toBe(true);
    expect(end.stderr).toMatch(/:2:\d+ .*NO_SUCH_VARIABLE/);
    expect(end.stderr).toMatch(/:3:\d+ .*tabel.*did you mean .*table/);
    expect(end.stderr).toMatch(/:4:\d+ .*order/);
  },
);

test('a rules file that is not there is status 2', async () => {
  const end = await runProgram(['run', '-c', '/no/such/observers.yaml']);
  expect(end).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/can't read \/no\/such\/observers\.yaml: .*--config/),
  });
});

test('run: a table that does not exist is status 2, with the position of its source', async () => {
  const database = await createShop('refused_table');
  const rules = await rulesFile(
    shopRules({ database: database.url, url: nowhere }).replace('public.orders', 'public.order'),
  );
  const end = await runProgram(['run', '-c', rules], quiet);
  expect(end.status).toBe(2);
  expect(end.stderr).toMatch(
    /observers\.yaml:4:\d+ {2}source orders: there is no table public\.order .*did you mean public\.orders/,
  );
});

test('a database migrated by a newer version is status 1 for every command that would touch it', async () => {
  const database = await createShop('refused_newer');
  const rules = await rulesFile(shopRules({ database: database.url, url: nowhere }));
  await apply(rules);
  await database.query(`insert into observers.migrations (version, name, checksum) values (9999, '9999_future', '')`);
  for (const args of [['run'], ['run', '--no-apply'], ['apply'], ['plan']]) {
    const end = await runProgram([...args, '-c', rules], quiet);
    expect(end.status).toBe(1);
    expect(end.stderr).toMatch(/migrated to version 9999 by a newer pg-observers; this one knows version \d+\. Update/);
  }
});

test('run --no-apply on a database that is not migrated is status 1, and names the command', async () => {
  const database = await createShop('refused_bare');
  const rules = await rulesFile(shopRules({ database: database.url, url: nowhere }));
  const end = await runProgram(['run', '--no-apply', '-c', rules], quiet);
  expect(end).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(
      /^This database is not migrated .*run `pg-observers apply` first\. {2}\[PGO-NOT-APPLIED\]\n$/,
    ),
  });
});

test('a role without DDL rights is told to let somebody else apply, and runs with --no-apply', async () => {
  const database = await createShop('refused_role');
  const hooks = await receiver();
  const rules = await rulesFile(shopRules({ database: database.url, url: hooks.url }));
  const role = await createRole(database, '');
  const bare = await runProgram(['run', '-c', rules, '-d', role.url], quiet);
  expect(bare).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/This role may not migrate the database .*pg-observers apply/),
  });

  await apply(rules);
  const noRights = await runProgram(['run', '--no-apply', '-c', rules, '-d', role.url], quiet);
  expect(noRights).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('This role may not use the schema observers'),
  });
  for (const sql of runtimeRights(role.name)) await database.query(sql);
  const sidecar = await startSidecar(rules, { args: ['--no-apply', '-d', role.url] });
  await database.query('insert into public.orders values (1)');
  expect((await hooks.received.waitFor(1)).map(keyOf)).toEqual(['1']);
  for (const command of ['status', 'dlq list']) {
    expect(await runProgram([...command.split(' '), '-c', rules, '-d', role.url])).toMatchObject({ status: 0 });
  }
  const end = await sidecar.kill();
  expect(end).toMatchObject({ status: 0, stderr: '' });
  expect(sidecar.records().filter(({ level }) => level === 'error')).toEqual([]);
});

/** All that `run --no-apply` needs: nothing on the observed tables, no ownership, no CREATE. */
const runtimeRights = (role: string): string[] => [
  `grant usage on schema observers to ${role}`,
  `grant select, insert, update, delete on all tables in schema observers to ${role}`,
  `grant usage on all sequences in schema observers to ${role}`,
  `grant execute on all functions in schema observers to ${role}`,
];
