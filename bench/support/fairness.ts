/** A tenant with a long backlog, and another one with single deliveries at the same destination. */
import { startWebhookReceiver } from '../../src/receivers/webhook-receiver.ts';
import type { Cluster } from './cluster.ts';
import { sleep } from './figures.ts';
import { apply, type Rules, startSidecar } from './sidecar.ts';

export interface FairnessOptions {
  readonly cluster: Cluster;
  /** Deliveries of the one tenant that are due. */
  readonly backlog: number;
  /** How many more tenants have something due all the time. */
  readonly others: number;
  /** Single events of the other one, one after the other. */
  readonly singles: number;
  readonly log: (line: string) => void;
}

export interface Fairness {
  /** From before the write to the arrival, of each single event of the other tenant. Milliseconds. */
  readonly latencies: readonly number[];
  /** Of the backlog meanwhile, a second. */
  readonly perSecond: number;
  /** Of the backlog, when the last single one had arrived. */
  readonly left: number;
}

/** @throws Error when a single one does not arrive, or when the backlog was too short */
export async function measureFairness({ cluster, backlog, others, singles, log }: FairnessOptions): Promise<Fairness> {
  const database = await cluster.createDatabase('fairness');
  const receiver = await startWebhookReceiver({ capacity: 10 });
  const rules: Rules = {
    version: 1,
    database: database.url,
    sources: { work: { topic: 'work' } },
    destinations: { hook: { webhook: { url: receiver.url } } },
    observers: { all: { source: 'work', actions: [{ webhook: 'hook' }] } },
  };
  await apply(rules);
  log(`queueing ${backlog} deliveries of one tenant, and ${others * 100} of ${others} others`);
  await database.query(fillSql, [backlog, 'big', 0]);
  if (others > 0) await database.query(fillSql, [others * 100, null, others]);
  await database.query('vacuum analyze observers.deliveries');
  const arrived = new Map<number, number>();
  let bulk = 0;
  receiver.received.onArrival(({ body }) => {
    const { n } = JSON.parse(body).data.payload;
    if (n >= 0) arrived.set(n, Date.now());
    else bulk += 1;
  });
  const sidecar = await startSidecar(rules);
  try {
    await sleep(1_000);
    const [began, before] = [performance.now(), bulk];
    const latencies: number[] = [];
    for (let n = 0; n < singles; n++) {
      const at = Date.now();
      await database.query("select observers.emit('work', jsonb_build_object('n', $1::int), tenant => 'small')", [n]);
      for (let waited = 0; !arrived.has(n); waited += 2) {
        if (waited > 60_000) throw new Error(`the single delivery ${n} did not arrive`);
        await sleep(2);
      }
      latencies.push((arrived.get(n) ?? 0) - at);
      await sleep(50);
    }
    const perSecond = ((bulk - before) * 1_000) / (performance.now() - began);
    const { rows } = await database.query<{ left: number }>(
      "select count(*)::int as left from observers.deliveries where tenant = 'big'",
    );
    const left = rows[0]?.left ?? 0;
    if (left === 0) throw new Error('the backlog was sent before the single ones: make it longer');
    return { latencies, perSecond, left };
  } finally {
    await sidecar.stop();
    await receiver.close();
    await database.drop();
  }
}

/** Routed already: $1 so many events with a delivery each, of tenant $2, or of $3 tenants. */
const fillSql = `
with event as (
  insert into observers.events (source, operation, tenant, payload, xid)
  select 'work', 'emit', coalesce($2, 'tenant-' || n % nullif($3::int, 0)), '{"n": -1}', '3' from generate_series(1, $1::int) n
  returning id, uid, created_at, tenant
)
insert into observers.deliveries (event_id, event_at, event_uid, observer, action, destination, tenant, state, rule_version)
select id, created_at, uid, 'all', 'webhook-1', 'hook', tenant, 'ready', '1' from event`;
