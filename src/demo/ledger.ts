import type pg from 'pg';

/** What the database says about this run. */
export interface Books {
  /** Events in the log. */
  readonly events: number;
  /** Of them, not routed yet. */
  readonly unrouted: number;
  /** Deliveries still queued. */
  readonly pending: number;
  readonly deadLetters: number;
}

/** Looks only at what came after it was opened: with --database there may be older runs. */
export class DatabaseLedger {
  readonly #client: pg.ClientBase;
  readonly #since: string;

  private constructor(client: pg.ClientBase, since: string) {
    this.#client = client;
    this.#since = since;
  }

  /** @param client used by nobody else: queries of one session wait for each other */
  static async open(client: pg.ClientBase): Promise<DatabaseLedger> {
    const { rows } = await client.query<{ id: string }>(
      'select coalesce(max(id), 0)::text as id from observers.events',
    );
    return new DatabaseLedger(client, rows[0]?.id ?? '0');
  }

  async read(): Promise<Books> {
    const { rows } = await this.#client.query<Books>(
      `select (select count(*) from observers.events where id > $1)::int as events,
              (select count(*) from observers.events e, observers.checkpoints c
               where e.id > $1 and c.consumer = 'router' and not pg_visible_in_snapshot(e.xid, c.snapshot)
                 and not coalesce(e.id <= c.after_id and pg_visible_in_snapshot(e.xid, c.target), false))::int as unrouted,
              (select count(*) from observers.deliveries where event_id > $1)::int as pending,
              (select count(*) from observers.dead_letters where event_id > $1)::int as "deadLetters"`,
      [this.#since],
    );
    return rows[0] ?? { events: 0, unrouted: 0, pending: 0, deadLetters: 0 };
  }

  /** What a person would type into psql. @returns how many were queued again */
  async replayAll(): Promise<number> {
    const { rows } = await this.#client.query<{ queued: number }>(
      `select count(*) filter (where observers.replay(id))::int as queued from observers.dead_letters where event_id > $1`,
      [this.#since],
    );
    return rows[0]?.queued ?? 0;
  }
}
