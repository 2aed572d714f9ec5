/**
 * pg-observers with nothing to set up: a shop on a PostgreSQL of its own, the example's rules as they are shipped, and a
 * real receiver for each of its destinations. Everything that is started here is stopped here, in reverse, however it ends.
 */

import { fileURLToPath } from 'node:url';
import pg from 'pg';
import pc from 'picocolors';
import { loadConfig } from '../config/index.ts';
import type { Config } from '../domain/rules.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../embedded/embedded-postgres.ts';
import { createEngine, type Engine } from '../engine.ts';
import { unreachable } from '../transport/postgres/failures.ts';
import { jsonView } from './json-view.ts';
import { DatabaseLedger } from './ledger.ts';
import { type ShopReceivers, startReceivers } from './receivers.ts';
import { Shop } from './shop.ts';
import { ensureShopTables } from './shop-tables.ts';
import { Story } from './story.ts';
import { Tally } from './tally.ts';
import { TextView } from './text-view.ts';
import type { View } from './view.ts';

export interface DemoOptions {
  /** null: an embedded server, gone at the end. */
  readonly database: string | null;
  /** null: as long as it runs. */
  readonly changes: number | null;
  /** End by itself when the changes are made and everything has arrived. */
  readonly exit: boolean;
  /** Changes per second; null: a pace that a person can follow. */
  readonly rate: number | null;
  readonly json: boolean;
  readonly output: NodeJS.WriteStream;
  /** Ends it in an orderly way, at any moment. */
  readonly stop: AbortSignal;
}

const exampleFile = fileURLToPath(new URL('../../observers.example.yaml', import.meta.url));

const humaneRate = 4;
/** A demo that ends by itself takes at least about this long for its changes. Seconds. */
const shortestTrade = 20;
/** How long nothing may move before what is missing counts as lost. Milliseconds. */
const patienceMs = 15_000;
/** The same when somebody wants it to stop: what still waits is then said to wait. Milliseconds. */
const patienceWhenStoppedMs = 1_500;
const shutdownTimeoutMs = 3_000;

interface Scene {
  readonly database: string;
  readonly created: boolean;
  readonly tally: Tally;
  readonly receivers: ShopReceivers;
  readonly config: Config;
  readonly engine: Engine;
  readonly shop: Shop;
  readonly ledger: DatabaseLedger;
  readonly view: View;
}

export class Demo {
  readonly #options: DemoOptions;
  readonly #closers: (() => Promise<unknown>)[] = [];
  #postgres: Promise<EmbeddedPostgres> | null = null;

  constructor(options: DemoOptions) {
    this.#options = options;
  }

  /**
   * @returns the exit status: 0, or 1 when something was lost
   * @throws UserError when it can't start
   */
  async run(): Promise<number> {
    try {
      const scene = await this.#start();
      return scene === null ? 0 : await this.#play(scene);
    } catch (error) {
      // What breaks because it was stopped in the middle of starting is no news.
      if (this.#options.stop.aborted) return 0;
      throw error;
    } finally {
      for (const close of this.#closers.reverse()) await close().catch(() => {});
    }
  }

  /**
   * After `stop`, when that takes too long: resolves when the server is gone and its directory with it, whatever else is
   * going on. Then the process may end.
   */
  async abandon(): Promise<void> {
    const postgres = await this.#postgres?.catch(() => null);
    await postgres?.stop('immediate');
  }

  /** @returns null when stopped meanwhile */
  async #start(): Promise<Scene | null> {
    const { stop } = this.#options;
    const tally = new Tally();
    let observing = false;
    const receivers = await startReceivers((arrival) => tally.arrived(arrival));
    this.#closers.push(() => receivers.close());
    const database = this.#options.database ?? (await this.#startPostgres());
    const client = await this.#connect(database);
    const created = await ensureShopTables(client, database);
    const shop = new Shop(client, (changes) => {
      if (observing) tally.committed(changes);
    });
    if (created) await shop.openUp();
    const config = await loadConfig(exampleFile, {
      env: { ...receivers.environment, DATABASE_URL: database, PG_OBSERVERS_LISTEN: 'off' },
    });
    const view = this.#view(config);
    if (stop.aborted) return null;
    const engine = createEngine(config, { telemetry: tally.telemetry });
    this.#closers.push(() => engine.stop({ timeoutMs: shutdownTimeoutMs, reason: 'the demo ends' }));
    engine.subscribe(view.telemetry);
    await engine.start();
    const ledger = await DatabaseLedger.open(await this.#connect(database));
    observing = true;
    return stop.aborted ? null : { database, created, tally, receivers, config, engine, shop, ledger, view };
  }

  async #play(scene: Scene): Promise<number> {
    const { tally, receivers, view, ledger, engine } = scene;
    const { exit, changes, stop } = this.#options;
    view.header(...this.#introduction(scene));
    const rate = this.#options.rate ?? Math.max(humaneRate, exit && changes !== null ? changes / shortestTrade : 0);
    const story = new Story({ ...scene, rate, changes: changes ?? Number.POSITIVE_INFINITY, stop });
    await story.tell();
    if (!exit && !stop.aborted) {
      view.step('plain', `${changes} changes are made. Look around with psql; Ctrl-C ends the demo.`);
      await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
    }
    if (stop.aborted) view.step('plain', 'Stopping: what is on its way may end. Ctrl-C again quits at once.');
    receivers.billingIsDown = false;
    await story.settle(stop.aborted ? patienceWhenStoppedMs : patienceMs);
    await engine.stop({ timeoutMs: shutdownTimeoutMs, reason: 'the demo ends' });
    view.flush();
    const books = await ledger.read();
    // Stopped early, what is still in the tables is not lost: with a database that stays it would go out later.
    const waiting = books.unrouted + books.pending + books.deadLetters;
    const missing = stop.aborted ? (books.unrouted > 0 ? 0 : tally.missing - waiting) : tally.missing;
    const lost = Math.max(0, missing, tally.expectedEvents - books.events, stop.aborted ? 0 : waiting);
    if (stop.aborted && waiting > 0) view.remark(`${waiting} still waited in the tables when you stopped`);
    for (const arrival of lost > 0 ? tally.missingArrivals(20) : []) view.remark(`missing: ${arrival}`);
    view.summary(tally.summary(books.events, lost));
    return lost > 0 ? 1 : 0;
  }

  async #startPostgres(): Promise<string> {
    if (!this.#options.json) this.#options.output.write('Starting a PostgreSQL for the demo …\n');
    this.#postgres = startEmbeddedPostgres({ signal: this.#options.stop });
    const postgres = await this.#postgres;
    this.#closers.push(() => postgres.stop());
    return postgres.url;
  }

  async #connect(database: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: database, application_name: 'pg-observers demo' });
    // The server of the demo may be stopped while it is idle; a query says so by itself.
    client.on('error', () => {});
    try {
      await client.connect();
    } catch (error) {
      throw unreachable(database, error);
    }
    this.#closers.push(() => client.end());
    return client;
  }

  #view(config: Config): View {
    const { output, json } = this.#options;
    const write = (text: string) => void output.write(text);
    if (json) return jsonView(write);
    // Not picocolors' own choice, which colours pipes too where CI is set.
    const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
    const colored = !NO_COLOR && (Boolean(FORCE_COLOR) || (output.isTTY === true && TERM !== 'dumb'));
    return new TextView({ config, write, colors: pc.createColors(colored), width: () => output.columns });
  }

  #introduction({ database, created, config }: Scene): [string, [string, string][]] {
    const own = this.#options.database === null;
    const tables = created ? 'with the tables orders and customers, just created' : 'with its tables of an earlier run';
    return [
      'pg-observers demo: a shop, its database, and everybody who is told what happens in it',
      [
        ['rules', `${exampleFile}: ${config.sources.size} sources, ${config.observers.size} observers`],
        ['database', `psql ${database}`],
        ['', own ? 'an embedded PostgreSQL, gone when the demo ends' : `yours, ${tables}; they stay`],
        ['receivers', 'billing and ops (webhooks), a mail server and Slack, all on this machine; nothing leaves it'],
        ['each line', 'an event → the observer that fires → where it delivers, and the answer'],
        ['watch for', 'billing: it will fail until deliveries are dead letters, be repaired, and get them after all'],
        ['Ctrl-C', 'ends it'],
      ],
    ];
  }
}
