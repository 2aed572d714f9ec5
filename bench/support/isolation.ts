/** One destination dead and one slow, beside one that is well: what that one feels of it. */
import { loadavg } from 'node:os';
import type pg from 'pg';
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import type { Cluster } from './cluster.ts';
import { startEndpoint } from './endpoint.ts';
import { quantile, sleep } from './figures.ts';
import { apply, type Rules, startSidecar } from './sidecar.ts';

export interface IsolationOptions {
  readonly cluster: Cluster;
  /** Events a second; each is for all three. */
  readonly rate: number;
  readonly undisturbedMs: number;
  readonly disturbedMs: number;
  /** What the slow one takes for an answer. Milliseconds. */
  readonly slowMs: number;
  readonly breaker: boolean;
  readonly log: (line: string) => void;
}

export interface IsolationPhase {
  readonly name: string;
  readonly events: number;
  /** From before the write to the arrival at the one that is well. Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
  /** Deliveries that wait at its end. */
  readonly queued: number;
  /** Of the machine, over the last minute. */
  readonly load: number;
}

/** All well, then one dead and one slow, then all well again. @throws Error when an event does not arrive */
export async function measureIsolation(options: IsolationOptions): Promise<readonly IsolationPhase[]> {
  const { cluster, undisturbedMs, disturbedMs, slowMs } = options;
  const database = await cluster.createDatabase('isolation');
  const dead = await startEndpoint();
  let answerMs = 0;
  const slow = await startWebhookReceiver({ capacity: 10, respond: () => ({ status: 204, delayMs: answerMs }) });
  const well = await startWebhookReceiver({ capacity: 10 });
  const rules = rulesFor(database.url, { dead: dead.url, slow: slow.url, well: well.url }, options.breaker);
  await apply(rules);
  const sidecar = await startSidecar(rules);
  const pool = database.pool(8);
  try {
    const latencies: number[] = [];
    well.received.onArrival(({ body }) => latencies.push(Date.now() - JSON.parse(body).data.payload.at));
    const phase = async (name: string, ms: number): Promise<IsolationPhase> => {
      latencies.length = 0;
      const events = await emit(pool, options.rate, ms);
      for (let waited = 0; latencies.length < events; waited += 10) {
        if (waited > 60_000) throw new Error(`${events - latencies.length} of ${events} events did not arrive`);
        await sleep(10);
      }
      const { rows } = await pool.query<{ n: number }>('select count(*)::int as n from observers.deliveries');
      const [p50, p99] = [quantile(latencies, 0.5), quantile(latencies, 0.99)];
      const worst = latencies.reduce((most, one) => Math.max(most, one), 0);
      const figures = { name, events, p50, p99, worst, queued: rows[0]?.n ?? 0, load: loadavg()[0] ?? Number.NaN };
      options.log(
        `${name}: ${events} events, p50 ${p50} ms, p99 ${p99} ms, worst ${worst} ms; ${figures.queued} queued, load ${figures.load.toFixed(1)}`,
      );
      return figures;
    };
    await emit(pool, options.rate, Math.min(5_000, undisturbedMs));
    await sleep(500);
    const before = await phase('undisturbed', undisturbedMs);
    await dead.become('down');
    answerMs = slowMs;
    const disturbed = await phase('one dead, one slow', disturbedMs);
    await dead.become('up');
    answerMs = 0;
    // Sending a backlog of minutes would be another disturbance, and is not what is measured.
    await pool.query("delete from observers.deliveries where destination in ('dead', 'slow') and state <> 'claimed'");
    await pool.query('vacuum analyze observers.deliveries');
    await sleep(slowMs);
    return [before, disturbed, await phase('undisturbed again', undisturbedMs)];
  } finally {
    await sidecar.stop();
    dead.close();
    await Promise.all([slow.close(), well.close()]);
    await pool.end();
    await database.drop();
  }
}

/** Evenly, one transaction each. @returns how many */
async function emit(pool: pg.Pool, rate: number, ms: number): Promise<number> {
  const began = performance.now();
  const sent: Promise<unknown>[] = [];
  for (let elapsed = 0; elapsed < ms; elapsed = performance.now() - began) {
    const due = Math.floor((elapsed * rate) / 1_000);
    while (sent.length < due) {
      const at = Date.now();
      sent.push(
        pool.query("select observers.emit('ticks', jsonb_build_object('at', $1::float8, 'n', $2::int))", [
          at,
          sent.length,
        ]),
      );
    }
    await sleep(2);
  }
  await Promise.all(sent);
  return sent.length;
}

function rulesFor(database: string, urls: Record<'dead' | 'slow' | 'well', string>, breaker: boolean): Rules {
  const names = ['dead', 'slow', 'well'] as const;
  const treated = breaker ? { circuit_breaker: {} } : {};
  return {
    version: 1,
    database,
    sources: { ticks: { topic: 'ticks' } },
    destinations: Object.fromEntries(
      names.map((name) => [name, { webhook: { url: urls[name] }, timeout: '10s', ...treated }]),
    ),
    observers: Object.fromEntries(names.map((name) => [name, { source: 'ticks', actions: [{ webhook: name }] }])),
  };
}
