import { afterAll, describe, expect, test } from 'vitest';
import type { TelemetryEvent } from '../../src/domain/telemetry.ts';
import { createEngine } from '../../src/engine.ts';
import { eventually, rules } from '../deliver/fixture.ts';
import { createDatabase } from '../support/database.ts';
import { cases, type HostileCase } from './cases.ts';
import { startSite } from './site.ts';

/*
 * Every case of the matrix through one engine, at the same time: whatever one of them does, it is not to hold up another.
 * Those that hang would do so for ever; that they come to an end at all shows the deadline.
 */

const secrets = {
  SIGNING: `whsec_${Buffer.from('signing key that nobody may see!').toString('base64')}`,
  TOKEN: 'bearer-nobody-may-see',
};

const site = await startSite();
const database = await createDatabase('hostile');
const told: TelemetryEvent[] = [];
const engine = createEngine(config(), { telemetry: (event) => told.push(event) });
await engine.start();
afterAll(() => engine.stop({ timeoutMs: 0 }));
await database.query(`select observers.emit('orders', $1::jsonb)`, [JSON.stringify({ n: 1, urls: site.urls })]);

function config() {
  const destinations = cases.map((one) => {
    const ca = site.ca(one);
    const webhook = {
      url: site.url(one),
      secret: '${SIGNING}',
      auth: { bearer: '${TOKEN}' },
      ...(ca !== null && { tls: { ca } }),
    };
    const retry = { attempts: 2, initial: '1ms', jitter: 'none' } as const;
    return [one.name, { webhook, retry, ...one.destination }] as const;
  });
  const observers = cases.map((one) => [
    one.name,
    { source: 'orders', actions: [{ webhook: one.name, ...(one.body !== undefined && { body: one.body }) }] },
  ]);
  return rules(
    database.url,
    { destinations: Object.fromEntries(destinations), observers: Object.fromEntries(observers) },
    secrets,
  );
}

interface Facts {
  readonly attempts: readonly string[];
  readonly end: string;
  readonly hold: string | null;
}

/** As the tables tell it. */
async function factsOf({ name }: HostileCase): Promise<Facts> {
  const { rows } = await database.query<{
    attempts: string[];
    pending: string | null;
    dead: string | null;
    hold: string | null;
  }>(
    `select
       (select coalesce(array_agg(case
            when error_class is null then 'delivered ' || status
            when error_class = 'http_' || status then error_class
            else concat_ws(' ', error_class, status) end order by attempt), '{}')
        from observers.attempts where observer = $1) as attempts,
       (select case when state = 'ready' then 'waiting' else state end from observers.deliveries where observer = $1) as pending,
       (select reason from observers.dead_letters where observer = $1) as dead,
       (select case when disabled_at is not null then 'disabled' when paused_until > now() then 'paused' end
        from observers.destinations where name = $1) as hold`,
    [name],
  );
  const [row] = rows;
  return { attempts: row?.attempts ?? [], end: row?.dead ?? row?.pending ?? 'delivered', hold: row?.hold ?? null };
}

const wanted = ({ attempts, end, hold }: HostileCase): Facts => ({ attempts, end, hold: hold ?? null });

const isSame = (one: Facts, other: Facts) => JSON.stringify(one) === JSON.stringify(other);

// All of them run at once, so they share one: many that fail must not take as many times as long.
const deadline = Date.now() + 30_000;

describe('becomes', () => {
  test.each(cases)('$title: $end', { timeout: 40_000 }, async (hostile) => {
    let last: Facts | null = null;
    await eventually(
      hostile.title,
      async () => {
        last = await factsOf(hostile);
        return isSame(last, wanted(hostile));
      },
      Math.max(500, deadline - Date.now()),
    ).catch(() => undefined);
    expect(last).toEqual(wanted(hostile));
    const { says, excerptBytes } = hostile;
    const { rows } = await database.query<{ message: string | null; excerpt: string | null }>(
      `select error_message as message, response_excerpt as excerpt from observers.attempts where observer = $1
       order by attempt desc limit 1`,
      [hostile.name],
    );
    if (says !== undefined) expect(rows[0]?.message).toContain(says);
    if (excerptBytes !== undefined) expect(Buffer.byteLength(rows[0]?.excerpt ?? '')).toBe(excerptBytes);
  });
});

describe('and when all is over', () => {
  test('every dead letter says what its last attempt did', async () => {
    const { rows } = await database.query(
      `select d.observer from observers.dead_letters d
       join lateral (
         select * from observers.attempts a where a.observer = d.observer order by attempt desc limit 1
       ) last on (d.error_class, d.http_status, d.attempts) is distinct from (last.error_class, last.status, last.attempt)`,
    );
    expect(rows).toEqual([]);
  });

  test('nothing has gone on behind our back: no redirect was followed, no refused message sent again', async () => {
    for (const hostile of cases)
      expect([hostile.name, await factsOf(hostile)]).toEqual([hostile.name, wanted(hostile)]);
    const paths = new Set(site.receiver.received.entries.map(({ path }) => path));
    expect([...paths].filter((path) => !cases.some((one) => one.path === path))).toEqual([]);
    for (const { name, path, attempts, end } of cases) {
      if (path === undefined) continue;
      const arrived = site.receiver.received.entries.filter((entry) => entry.path === path).length;
      const sent = end === 'engine_fault' ? 0 : attempts.length;
      // On a busy machine a short deadline may be over before the request is out.
      const least = attempts.includes('timeout') ? 0 : sent;
      expect([name, arrived >= least && arrived <= sent]).toEqual([name, true]);
    }
  });

  test('a body without end is not read to its end, and no more of any is kept than 2 KiB of valid UTF-8', async () => {
    const [huge] = site.receiver.received.entries.filter(({ path }) => path.startsWith('/huge-body'));
    expect(await huge?.sent).toBeLessThan(100_000_000);
    const { rows } = await database.query<{ longest: number }>(
      'select max(octet_length(response_excerpt)) as longest from observers.attempts',
    );
    expect(rows[0]?.longest).toBe(2048);
  });

  test('no pause is longer than retry_after_max', async () => {
    const { rows } = await database.query(
      `select name from observers.destinations where paused_until > now() + interval '1 hour'`,
    );
    expect(rows).toEqual([]);
  });

  test('no secret is in a table or in telemetry, also when the receiver shows it', async () => {
    const [echo] = site.receiver.received.entries.filter(({ path }) => path.endsWith('/echo'));
    expect(echo?.headers.authorization).toBe(`Bearer ${secrets.TOKEN}`);
    for (const table of ['attempts', 'dead_letters', 'deliveries', 'destinations', 'instances', 'events']) {
      const { rows } = await database.query(
        `select from observers.${table} t where t::text like any (array['%' || $1 || '%', '%' || $2 || '%'])`,
        [secrets.TOKEN, secrets.SIGNING.slice(6)],
      );
      expect([table, rows.length]).toEqual([table, 0]);
    }
    const text = JSON.stringify(told);
    for (const secret of [secrets.TOKEN, secrets.SIGNING.slice(6)]) expect(text).not.toContain(secret);
  });

  test('no connection is left open by what hung', async () => {
    await engine.stop({ timeoutMs: 0 });
    await site.receiver.connections.whenEmpty();
  });
});
