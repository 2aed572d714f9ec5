/**
 * graphile-worker as its performance page sets it up (https://worker.graphile.org/docs/performance): a local queue, completions in
 * batches. TUNED=latency leaves them out.
 */
import { Logger, run } from 'graphile-worker';
import { concurrency, database, deliver, stopOnSignal } from './deliver.mjs';

const quiet = new Logger(() => (level, message) => {
  if (level === 'error' || level === 'warning') console.error(message);
});
const batched = process.env.TUNED !== 'latency';
const runner = await run({
  preset: {
    worker: {
      connectionString: database,
      concurrentJobs: concurrency,
      // Its documentation: "10 or concurrentJobs + 2, whichever is larger".
      maxPoolSize: Math.max(10, concurrency + 2),
      logger: quiet,
      ...(batched && { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }),
    },
  },
  noHandleSignals: true,
  taskList: { deliver: (row, { job }) => deliver(job.id, row) },
});
stopOnSignal(() => runner.stop());
console.log('ready');
