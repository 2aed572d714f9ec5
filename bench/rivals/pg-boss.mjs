/**
 * pg-boss with batches, fetched without a pause while they come back full, woken by NOTIFY otherwise. Two fetchers, so that one
 * fetches and completes while the other one sends; each job of a batch has a result of its own, or one refused POST would
 * send all of its batch again.
 */
import { PgBoss } from 'pg-boss';
import { concurrency, database, deliver, stopOnSignal } from './deliver.mjs';

const boss = new PgBoss({ connectionString: database, max: 10, useListenNotify: true, schedule: false });
boss.on('error', (error) => console.error(error));
await boss.start();
await boss.createQueue('deliver', { notify: true, retryLimit: 5, retryBackoff: true });
const options = {
  batchSize: Number(process.env.BATCH ?? 500),
  localConcurrency: Number(process.env.FETCHERS ?? 2),
  burstWhenBatchFull: true,
  pollingIntervalSeconds: 0.5,
  perJobResults: true,
};
// How many are in flight is what the HTTP client's connections allow: the same as for everybody.
await boss.work('deliver', options, (jobs) =>
  Promise.all(
    jobs.map(async ({ id, data }) => {
      try {
        await deliver(id, data);
        return { id, status: 'completed' };
      } catch (error) {
        return { id, status: 'failed', output: { message: String(error) } };
      }
    }),
  ),
);
stopOnSignal(() => boss.stop({ graceful: true, timeout: 5_000 }));
console.log(`ready, ${concurrency} connections`);
