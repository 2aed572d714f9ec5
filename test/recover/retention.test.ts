import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { eventJson } from '../../src/domain/event-json.ts';
import { listArchive, readDay, readHeader } from '../../src/transport/archive/day-reader.ts';
import { openArchive } from '../../src/transport/archive/directory-archive.ts';
import { readEvent } from '../../src/transport/postgres/event-history.ts';
import { enforceRetention } from '../../src/transport/postgres/retention.ts';
import { emit, eventually, migrated, rules, run } from '../deliver/fixture.ts';
import type { TestDatabase } from '../support/database.ts';
import { archivedIn, dropped, partitions, pastDay, pastEvent, retain, routed, week, worker } from './days.ts';

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'pgo-archive-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function linesOf(file: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of readDay(file)) lines.push(line);
  return lines;
}

/** So many events on a day past retention, all routed. @returns its name */
async function oldEvents(database: TestDatabase, count: number, daysAgo = 9): Promise<string> {
  const name = await pastDay(database, daysAgo);
  await database.query(
    `insert into observers.events (source, operation, key, payload, created_at)
     select 'orders', 'emit', n::text, jsonb_build_object('n', n, 'exact', 12345678901234567890.10, 'text', e'line\\u2028 \\\\n "quoted" ü'),
            (current_date - $2::int + time '00:00:01') at time zone 'UTC' + n * interval '1 ms'
     from generate_series(1, $1::int) n`,
    [count, daysAgo],
  );
  await routed(database);
  return name;
}

test('an archived event is, to the letter, what was printed of it before', async () => {
  const database = await migrated('archive');
  const place = directory();
  const old = await oldEvents(database, 5_000);
  const history = await pastDay(database, 9, 'attempts');
  await database.query(
    `insert into observers.attempts (delivery_id, event_id, event_uid, observer, action, destination, attempt, started_at, duration_ms, outcome)
     select 1, 1, gen_random_uuid(), 'o', 'a', 'd', n, (current_date - 9 + time '12:00') at time zone 'UTC', 0.5, 'delivered'
     from generate_series(1, 3) n`,
  );
  await database.query(
    `update observers.events set dedupe_key = 'once', capture_error = 'no column "x"' where key = '5000'`,
  );
  const { rows } = await database.query<{ id: string }>('select e.id::text from observers.events e order by e.id');
  const before = await readEvent(worker(database), { id: rows[1_234]?.id ?? '' });
  if (before === null) throw new Error('no such event');

  const { steps, complaints } = await retain(worker(database), archivedIn(place));
  expect(complaints).toEqual([]);
  expect(steps.map(({ partition, result, archived }) => [partition, result, archived?.rows])).toEqual([
    [history, 'dropped', 3],
    [old, 'dropped', 5_000],
  ]);
  expect(readdirSync(place).sort()).toEqual([`${history}.ndjson.gz`, `${old}.ndjson.gz`]);
  const file = join(place, `${old}.ndjson.gz`);
  const lines = await linesOf(file);
  expect(lines).toHaveLength(5_000);
  expect(lines[1_234]).toBe(eventJson(before));
  expect(lines[1_234]).toContain('12345678901234567890.10');
  expect(JSON.parse(lines[4_999] ?? '')).toMatchObject({ dedupe_key: 'once', capture_error: 'no column "x"' });
  expect((await linesOf(join(place, `${history}.ndjson.gz`))).map((line) => JSON.parse(line).attempt)).toEqual([
    1, 2, 3,
  ]);
  // For people without this program.
  const [header, first] = execFileSync('zcat', [file], { maxBuffer: 1e8 }).toString().split('\n');
  expect(JSON.parse(header ?? '')).toMatchObject({ pg_observers_archive: 1, table: 'events', rows: 5_000 });
  expect(first).toBe(lines[0]);
  expect(await partitions(database, 'events')).not.toContain(old);
});

test('a day stays when the archive is missing, may not be written, or is full; and says so', async () => {
  const database = await migrated('no_archive');
  const old = await oldEvents(database, 3);
  const gone = await retain(worker(database), archivedIn('/nonexistent/archive'));
  expect(gone.steps).toMatchObject([{ partition: old, result: 'failed', archived: null }]);
  expect(gone.complaints).toEqual([
    `${old} can't be dropped: the archive /nonexistent/archive can't be written: ENOENT: no such file or directory, stat '/nonexistent/archive'`,
  ]);
  const place = directory();
  writeFileSync(join(place, 'file'), '');
  expect((await retain(worker(database), archivedIn(join(place, 'file')))).complaints).toEqual([
    expect.stringContaining('it is not a directory'),
  ]);
  // A full disk, as far as the program can tell: what it writes to refuses with ENOSPC.
  execFileSync('ln', ['-s', '/dev/full', join(place, `${old}.ndjson.gz.unfinished`)]);
  const full = await retain(worker(database), archivedIn(place));
  expect(full.complaints).toEqual([expect.stringMatching(/can't be written: ENOSPC/)]);
  expect(await partitions(database, 'events')).toContain(old);
  expect(await dropped(worker(database), archivedIn(place))).toEqual([old]);
});

test('says in the log, in status and when asked whether it is ready that the archive is missing', async () => {
  const database = await migrated('told');
  await oldEvents(database, 1);
  const { engine, heard } = await run(
    rules(database.url, { settings: { retention: { archive: { directory: '/nonexistent' } } } }),
  );
  expect((await heard('retention.hindered')).complaints[0]).toMatch(/the archive \/nonexistent can't be written/);
  await eventually('the complaint in the table', async () => (await engine.status()).complaints.length === 1);
  expect((await engine.readiness()).reasons).toEqual([expect.stringMatching(/^retention: events_.* can't be dropped/)]);
});

test('what a crash left, before or after the drop failed, is written over', async () => {
  const database = await migrated('crash');
  const place = directory();
  const old = await oldEvents(database, 100);
  writeFileSync(join(place, `${old}.ndjson.gz.unfinished`), 'half of');
  // A reader that never ends keeps the drop from happening once the file is there; ending the session is the crash.
  const reader = await database.pool().connect();
  await reader.query('begin');
  await reader.query('select from observers.events limit 1');
  const { steps } = await retain(worker(database), archivedIn(place));
  expect(steps).toMatchObject([{ partition: old, result: 'busy', archived: { rows: 100 } }]);
  expect(readdirSync(place)).toEqual([`${old}.ndjson.gz`]);
  expect(await partitions(database, 'events')).toContain(old);
  await reader.query('rollback');
  reader.release();
  const file = join(place, `${old}.ndjson.gz`);
  truncateSync(file, readFileSync(file).length - 20);
  expect(await dropped(worker(database), archivedIn(place))).toEqual([old]);
  expect(await linesOf(file)).toHaveLength(100);
});

test('the session ends between the file and the drop: both are there, and the next round ends it', async () => {
  const database = await migrated('killed');
  const place = directory();
  const old = await oldEvents(database, 100);
  const archive = openArchive(place);
  const pool = worker(database);
  const killed = {
    ...archive,
    store: async (...args: Parameters<typeof archive.store>) => {
      const stored = await archive.store(...args);
      await database.query(
        `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = 7 and granted
           and database = (select oid from pg_database where datname = current_database())`,
      );
      return stored;
    },
  };
  await expect(enforceRetention(pool, { policy: archivedIn(place), archive: killed })).rejects.toThrow();
  expect(await linesOf(join(place, `${old}.ndjson.gz`))).toHaveLength(100);
  expect(await partitions(database, 'events')).toContain(old);
  expect(await dropped(worker(database), archivedIn(place))).toEqual([old]);
});

test('a file that is cut off or changed is found out', async () => {
  const database = await migrated('damage');
  const place = directory();
  const old = await oldEvents(database, 1_000);
  await dropped(worker(database), archivedIn(place));
  const file = join(place, `${old}.ndjson.gz`);
  const whole = readFileSync(file);
  for (const length of [0, 100, 600, whole.length - 1]) {
    writeFileSync(file, whole.subarray(0, length));
    await expect(linesOf(file)).rejects.toThrow(/is damaged/);
  }
  // Whole for gzip, but not what was written.
  const text = gunzipSync(whole).toString();
  for (const other of [text.replace('"n": 500', '"n": 501'), text.split('\n').slice(0, -2).join('\n').concat('\n')]) {
    writeFileSync(file, gzipSync(other));
    await expect(linesOf(file)).rejects.toThrow(/is damaged: (its checksum differs|it has 999 rows)/);
  }
  writeFileSync(file, gzipSync('{"pg_observers_archive": 2}\n'));
  await expect(linesOf(file)).rejects.toThrow(/this version can read/);
});

test('another database does not write over the files of this one', async () => {
  const place = directory();
  const [one, other] = [await migrated('one'), await migrated('other')];
  const old = await oldEvents(one, 2);
  await oldEvents(other, 3);
  expect(await dropped(worker(one), archivedIn(place))).toEqual([old]);
  expect((await retain(worker(other), archivedIn(place))).complaints).toEqual([
    expect.stringContaining('give each a directory of its own'),
  ]);
  expect((await readHeader(join(place, `${old}.ndjson.gz`))).rows).toBe(2);
});

test('two instances: one archives', async () => {
  const database = await migrated('two');
  const place = directory();
  const old = await oldEvents(database, 20_000);
  const both = await Promise.all([
    retain(worker(database), archivedIn(place)),
    retain(worker(database), archivedIn(place)),
  ]);
  const results = both.flatMap(({ steps }) => steps.map(({ result, archived }) => [result, archived?.rows ?? 0]));
  expect(results.filter(([result]) => result === 'dropped')).toEqual([['dropped', 20_000]]);
  // The other one found the place taken, or the day gone.
  expect(results.filter(([, rows]) => rows !== 0)).toHaveLength(1);
  expect(await partitions(database, 'events')).not.toContain(old);
});

test('days that are not routed, or not delivered, stay: for their age and for the size', async () => {
  const database = await migrated('holds');
  const [oldest, pending, free] = [
    await oldEvents(database, 10, 3),
    await oldEvents(database, 10, 2),
    await oldEvents(database, 10, 1),
  ];
  await database.query(
    `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
     select id, created_at, uid, 'ship', 'a', 'dock', 'ready', 'v' from observers.${pending} limit 1`,
  );
  await pastEvent(database, 3);
  const policy = { ...week, maxBytes: 1 };
  const { rows } = await database.query<{ uid: string }>(
    `select uid::text from observers.${oldest} order by id desc limit 1`,
  );
  const dry = await retain(worker(database), policy, { dryRun: true });
  expect(dry.steps.map(({ partition, because, result }) => [partition, because, result])).toEqual([
    [oldest, 'size', 'held'],
    [pending, 'size', 'held'],
    [free, 'size', 'due'],
  ]);
  expect(await partitions(database, 'events')).toContain(free);
  const { steps, complaints, bytes } = await retain(worker(database), policy);
  expect(steps.map(({ partition, result, why }) => [partition, result, why])).toEqual([
    [oldest, 'held', `event ${rows[0]?.uid} is not routed yet`],
    [pending, 'held', 'a delivery of ship to dock is pending'],
    [free, 'dropped', null],
  ]);
  expect(bytes).toBe(dry.bytes);
  expect(complaints).toEqual([
    expect.stringMatching(
      /^log and history take .* more than retention.max_size \(1 B\), and can't be made smaller: .*not routed yet; .*is pending$/,
    ),
  ]);
});

test('for the size, only as many days go as it takes, the oldest first', async () => {
  const database = await migrated('size');
  const names = [];
  for (const daysAgo of [4, 3, 2, 1]) names.push(await oldEvents(database, 3_000, daysAgo));
  const { rows } = await database.query<{ total: string; day: string }>(
    `select sum(pg_total_relation_size(inhrelid))::text as total,
            sum(pg_total_relation_size(inhrelid)) filter (where inhrelid::regclass::text = $1)::text as day
     from pg_inherits where inhparent in ('observers.events'::regclass, 'observers.attempts'::regclass)`,
    [`observers.${names[0]}`],
  );
  const [total, day] = [Number(rows[0]?.total), Number(rows[0]?.day)];
  expect(await dropped(worker(database), { ...week, maxBytes: total })).toEqual([]);
  expect(await dropped(worker(database), { ...week, maxBytes: total - day - 1 })).toEqual(names.slice(0, 2));
});

test('a delivery that is queued while its day is archived keeps it', async () => {
  const database = await migrated('replayed');
  const place = directory();
  const old = await oldEvents(database, 10);
  const archive = openArchive(place);
  const replaying = {
    ...archive,
    store: async (...args: Parameters<typeof archive.store>) => {
      await database.query(
        `insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, state, rule_version)
         select id, created_at, uid, 'o', 'a', 'd', 'ready', 'v' from observers.${old} limit 1`,
      );
      return archive.store(...args);
    },
  };
  const { steps } = await enforceRetention(worker(database), { policy: archivedIn(place), archive: replaying });
  expect(steps).toMatchObject([{ partition: old, result: 'held', why: 'a delivery of o to d is pending' }]);
});

test('an archive that is at it ends when the process stops, and the day stays', async () => {
  const database = await migrated('stopped');
  const place = directory();
  const old = await oldEvents(database, 5_000);
  const stop = new AbortController();
  const archive = openArchive(place);
  const slow = {
    ...archive,
    store: (day: Parameters<typeof archive.store>[0], lines: AsyncIterable<string>) =>
      archive.store(
        day,
        (async function* () {
          for await (const line of lines) {
            stop.abort();
            yield line;
          }
        })(),
      ),
  };
  await expect(
    enforceRetention(worker(database), { policy: archivedIn(place), archive: slow, signal: stop.signal }),
  ).rejects.toThrow(/abort/i);
  expect(readdirSync(place)).toEqual([]);
  expect(await partitions(database, 'events')).toContain(old);
});

test('writers go on while days are archived and dropped', async () => {
  const database = await migrated('writers');
  const place = directory();
  for (const daysAgo of [12, 11, 10, 9]) await oldEvents(database, 2_000, daysAgo);
  const writing = new AbortController();
  const pool = database.pool({ max: 4 });
  let written = 0;
  const writers = Array.from({ length: 4 }, async () => {
    while (!writing.signal.aborted) {
      await pool.query("select observers.emit('orders', '{}')");
      written += 1;
    }
  });
  try {
    await eventually('a writer at work', () => written > 20);
    expect(await dropped(worker(database), archivedIn(place))).toHaveLength(4);
    const then = written;
    await eventually('writers after it', () => written > then + 20);
  } finally {
    writing.abort();
  }
  await Promise.all(writers);
  const { rows } = await database.query<{ n: number }>('select count(*)::int as n from observers.events');
  expect(rows[0]?.n).toBe(written);
  expect(await listArchive(place)).toHaveLength(4);
});

test('a long transaction of a writer is not waited for, and holds up the other writers only so long', async () => {
  const database = await migrated('patience');
  const old = await oldEvents(database, 10);
  const writer = await database.pool().connect();
  await writer.query('begin');
  await writer.query("select observers.emit('orders', '{}')");
  // Every wait of ours for the lock ends by its timeout: the statement below would else wait for the transaction above.
  const trying = retain(worker(database));
  await eventually('the wait for the lock', async () => {
    const waiting = await database.query(
      "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
    );
    return waiting.rowCount !== 0;
  });
  await emit(database, {});
  expect((await trying).steps).toMatchObject([{ partition: old, result: 'busy', why: 'observers.events is in use' }]);
  await writer.query('rollback');
  writer.release();
  expect(await dropped(worker(database))).toEqual([old]);
});
