import { afterAll, beforeAll, expect, test } from 'vitest';
import { defineConfig } from '../../src/config/index.ts';
import { createEngine } from '../../src/engine.ts';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import { applyCapture, planCapture } from '../../src/transport/postgres/capture-plan.ts';
import { createPool } from '../../src/transport/postgres/connection.ts';
import { bundledMigrations } from '../../src/transport/postgres/migrations.ts';
import { createCaptureDatabase, until } from './support.ts';

const database = await createCaptureDatabase('grants');
const role = `plain_${database.name}`;
const sources = { t: { table: 'shop.t', where: 'id > 0' } };

/** All that `pg-observers run --no-apply` needs, on a database that its owner applied to. docs/ lists the same. */
const grants = `
  grant usage on schema observers to ${role};
  grant select, insert, update, delete on all tables in schema observers to ${role};
  grant usage on all sequences in schema observers to ${role};
  grant execute on all functions in schema observers to ${role}`;

function asRole(url: string): string {
  const led = new URL(url);
  led.username = role;
  led.password = 'secret';
  return led.href;
}
const url = asRole(database.url);

beforeAll(async () => {
  await database.query(
    `create role ${role} login password 'secret'; create schema shop; create table shop.t (id int primary key, v text)`,
  );
});
afterAll(async () => {
  await database.query(`drop owned by ${role}; drop role ${role}`);
});

function configOf(webhook: string, destination = url) {
  return defineConfig({
    version: 1,
    database: destination,
    sources,
    observers: { all: { source: 't', actions: [{ webhook }] } },
    settings: { listen: 'off', poll_interval: '100ms' },
  });
}

test('a role without DDL rights: apply says what to do, and so does run on a database nobody applied to', async () => {
  const config = configOf('http://127.0.0.1:9/');
  const pool = createPool(url, 2);
  const failure = await applyCapture(pool, config).catch((error) => error);
  expect(failure.name).toBe('UserError');
  expect(failure.message).toBe(
    'This role may not migrate the database (permission denied for database ' +
      `${database.name}). Run \`pg-observers apply\` once as a role that owns the schema \`observers\` or may create it.`,
  );
  const engine = createEngine(config, { apply: false });
  const names = bundledMigrations()
    .map(({ name }) => name)
    .join(', ');
  await expect(engine.start()).rejects.toThrow(
    `This database is not migrated (${names}): run \`pg-observers apply\` first.`,
  );

  await database.observe({});
  await expect(planCapture(pool, config)).rejects.toThrow(
    'This role may not look at what is installed: permission denied for schema observers.',
  );
  await expect(createEngine(config, { apply: false }).start()).rejects.toThrow(
    'This role may not use the schema observers',
  );
  await database.query(grants);
  await expect(applyCapture(pool, config)).rejects.toThrow(
    /^This role may not change function observers\."capture_t_insert" \(permission denied for schema observers\)\. Run `pg-observers apply` as the table's owner, then `pg-observers run --no-apply`\.$/,
  );
  await pool.end();
});

test('with nothing but the grants, `run --no-apply` observes and delivers', async () => {
  await database.observe(sources);
  await database.query(grants);
  const receiver = await startWebhookReceiver({ respond: () => ({ status: 200 }) });
  const failures: unknown[] = [];
  const engine = createEngine(configOf(receiver.url), {
    apply: false,
    telemetry: (event) => {
      if (event.type === 'stage.failed') failures.push(event.error);
    },
  });
  await engine.start();
  await database.query('insert into shop.t select generate_series(1, 20)');
  await until('the deliveries', async () => {
    const { rows } = await database.query<{ n: number }>('select count(*)::int as n from observers.attempts');
    return rows[0]?.n === 20;
  });
  expect(await engine.status()).toBeTruthy();
  await engine.stop();
  await receiver.close();
  expect(failures).toEqual([]);
  expect((await database.query('select * from observers.deliveries')).rows).toEqual([]);
});

test('they give no way to change the structure; pg_control_system(), which the checkpoint asks, needs none', async () => {
  const pool = createPool(url, 1);
  expect((await pool.query('select system_identifier from pg_control_system()')).rows).toHaveLength(1);
  await expect(pool.query('create table observers.mine (id int)')).rejects.toThrow('permission denied');
  await pool.end();
});

test('who may only emit can’t forge the events of another source', async () => {
  await database.query(`drop owned by ${role}`);
  await database.observe(sources);
  const pool = createPool(url, 1);
  await database.query(`create schema own authorization ${role}; grant usage on schema observers to ${role}`);
  await pool.query('create table own.t (id int primary key, v text)');
  const forge = 'create trigger forged after insert on own.t referencing new table as pgo_new_rows for each statement';
  await expect(pool.query(`${forge} execute function observers.capture_t_insert()`)).rejects.toThrow(
    'permission denied for function observers.capture_t_insert',
  );
  await pool.end();
});
