// A program with pg-observers inside, instead of a sidecar beside it.
//
//   DATABASE_URL=postgres://localhost/shop WEBHOOK_URL=https://example.com/hooks node examples/embedding.mjs
//
// It needs a table: create table signups (id bigint generated always as identity primary key, email text not null)
import { createEngine, defineConfig } from 'pg-observers';

// The same words as in observers.yaml, checked the same way; `loadConfig('observers.yaml')` reads the file instead.
const config = defineConfig({
  version: 1,
  database: '${DATABASE_URL}',
  sources: {
    signups: { table: 'public.signups' },
  },
  destinations: {
    crm: { webhook: { url: '${WEBHOOK_URL}' }, timeout: '5s' },
  },
  observers: {
    welcome: {
      source: 'signups',
      on: ['insert'],
      when: 'new.email.endsWith("@example.com")',
      actions: [{ webhook: 'crm', body: { subscriber: '${{ new.email }}' } }],
    },
  },
});

const engine = createEngine(config);
engine.subscribe((event) => {
  if (event.type === 'attempt.finished') console.log(`${event.observer}/${event.action}: ${event.outcome}`);
  if (event.type === 'database.unreachable') console.error(`waiting: ${event.message}`);
});

// Installs the tables and triggers, waits for a database that is away, and resolves when changes are observed.
await engine.start();
const { instance, queue } = await engine.status();
console.log(
  `observing, as instance ${instance.id}; ${queue.length === 0 ? 'nothing is queued' : 'there is work left'}`,
);

// Attempts in flight get ten seconds to end. Afterwards nothing keeps the process alive.
process.once('SIGTERM', () => engine.stop({ timeoutMs: 10_000, reason: 'SIGTERM' }));
process.once('SIGINT', () => engine.stop({ timeoutMs: 10_000, reason: 'SIGINT' }));
