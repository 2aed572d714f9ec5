import type pg from 'pg';
import type { Change } from './expectation.ts';

/** What kind of trade the story wants right now. */
export type Mood =
  | 'normal'
  /** No big order is paid, so nothing new is on its way to billing. */
  | 'calm'
  /** Every other change is the payment of a big order. */
  | 'busy';

interface Order {
  readonly id: string;
  readonly email: string;
  status: 'open' | 'paid';
  total: string;
}

const names = ['Ada', 'Grace', 'Edsger', 'Barbara', 'Alan', 'Radia', 'Donald', 'Frances', 'Ken', 'Margaret'];
const surnames = ['Lovelace', 'Hopper', 'Dijkstra', 'Liskov', 'Turing', 'Perlman', 'Knuth', 'Allen', 'Hamilton'];
const tenants = ['north', 'south'];
/** Orders remembered to be paid or cancelled later; more are left as they are. */
const largestBook = 200;

/** An application that knows nothing of pg-observers beyond `observers.emit`: it writes its rows and notifies. */
export class Shop {
  readonly #client: pg.ClientBase;
  readonly #committed: (changes: readonly Change[]) => void;
  readonly #book = new Map<string, Order>();
  #turn = 0;
  #number = Math.floor(Date.now() / 1000) * 1000;

  /** @param committed told of what a transaction changed, after its commit and never of one that was rolled back */
  constructor(client: pg.ClientBase, committed: (changes: readonly Change[]) => void) {
    this.#client = client;
    this.#committed = committed;
  }

  /** The orders that were there before anybody observed. */
  async openUp(): Promise<void> {
    for (let i = 0; i < 5; i++) {
      await this.#insertOrder(bigTotal());
      await this.#insertOrder(15 + Math.random() * 900);
    }
  }

  /** One transaction of everyday trade; @returns a remark when it was one that leaves no trace. */
  async trade(mood: Mood): Promise<string | null> {
    this.#turn += 1;
    if (mood === 'busy' && this.#turn % 2 === 0) return this.payBigOrder();
    const dice = Math.random();
    if (dice < 0.33) return this.#placeOrder();
    if (dice < 0.63) return this.#payOrder(mood);
    if (dice < 0.74) return this.#cancelOrder();
    if (dice < 0.84) return this.#signUpCustomer();
    if (dice < 0.93) return this.#emitSignup();
    return dice < 0.97 ? this.#discount() : this.#rollBack();
  }

  /** Pays an order of more than 1000, or, when none is open, places one. */
  async payBigOrder(): Promise<null> {
    const big = this.#find((order) => order.status === 'open' && isBig(order));
    return big === null ? this.#insertOrder(bigTotal()) : this.#pay(big);
  }

  #placeOrder(): Promise<null> {
    return this.#insertOrder(Math.random() < 0.4 ? bigTotal() : 15 + Math.random() * 900);
  }

  async #insertOrder(total: number): Promise<null> {
    const email = this.#person().email;
    const { rows } = await this.#client.query<{ id: string; total: string }>(
      `insert into public.orders (total, customer_email, tenant_id, internal_note) values ($1, $2, $3, 'margin 12 %')
       returning id::text, total::text`,
      [total.toFixed(2), email, pick(tenants)],
    );
    const order: Order = { id: rows[0]?.id ?? '', email, status: 'open', total: rows[0]?.total ?? '' };
    this.#book.set(order.id, order);
    if (this.#book.size > largestBook) this.#forgetOldest();
    this.#committed([{ kind: 'order placed' }]);
    return null;
  }

  async #payOrder(mood: Mood): Promise<null> {
    const order = this.#find((one) => one.status === 'open' && !(mood === 'calm' && isBig(one)));
    return order === null ? this.#placeOrder() : this.#pay(order);
  }

  /** Card payments are also announced on the shop's own channel, in the same transaction. */
  async #pay(order: Order): Promise<null> {
    const payment = Math.random() < 0.4 ? this.#nextNumber() : null;
    await this.#transaction(async () => {
      await this.#client.query(`update public.orders set status = 'paid' where id = $1`, [order.id]);
      if (payment !== null) {
        const payload = { payment, order: Number(order.id), method: 'card' };
        await this.#client.query(`select pg_notify('payment_events', $1)`, [JSON.stringify(payload)]);
      }
    });
    order.status = 'paid';
    const { id, total, email } = order;
    const paid: Change = { kind: 'order paid', id, total, email };
    this.#committed(payment === null ? [paid] : [paid, { kind: 'payment notified', payment }]);
    return null;
  }

  async #cancelOrder(): Promise<null> {
    const order = this.#find((one) => one.status === 'paid' || Number(one.total) >= 500) ?? this.#find(() => true);
    if (order === null) return this.#placeOrder();
    await this.#client.query(`update public.orders set status = 'cancelled' where id = $1`, [order.id]);
    this.#book.delete(order.id);
    this.#committed([{ kind: 'order cancelled', id: order.id, total: order.total, was: order.status }]);
    return null;
  }

  async #signUpCustomer(): Promise<null> {
    const { name, email } = this.#person();
    await this.#client.query('insert into public.customers (name, email) values ($1, $2)', [name, email]);
    this.#committed([{ kind: 'customer signed up', name, email }]);
    return null;
  }

  async #emitSignup(): Promise<null> {
    const user = this.#nextNumber();
    const plan = Math.random() < 0.5 ? 'pro' : 'free';
    await this.#client.query(`select observers.emit('signups', $1)`, [JSON.stringify({ user, plan })]);
    this.#committed([{ kind: 'signup emitted', user, plan }]);
    return null;
  }

  /** One statement, many rows: an event for each of them, and no observer fires. */
  async #discount(): Promise<null> {
    const open = [...this.#book.values()].filter((order) => order.status === 'open').slice(0, 20);
    if (open.length < 2) return this.#placeOrder();
    const { rows } = await this.#client.query<{ id: string; total: string }>(
      'update public.orders set total = round(total * 0.95, 2) where id = any ($1) returning id::text, total::text',
      [open.map((order) => order.id)],
    );
    for (const { id, total } of rows) {
      const order = this.#book.get(id);
      if (order !== undefined) order.total = total;
    }
    this.#committed(rows.map(() => ({ kind: 'order repriced' })));
    return null;
  }

  /** A payment that fails at the last moment. Not a change: nobody may hear of it. */
  async #rollBack(): Promise<string | null> {
    const order = this.#find((one) => one.status === 'open');
    if (order === null) return this.#placeOrder();
    await this.#client.query('begin');
    await this.#client.query(`update public.orders set status = 'paid' where id = $1`, [order.id]);
    await this.#client.query('rollback');
    return `the payment of order ${order.id} was rolled back: no event, and nobody hears of it`;
  }

  async #transaction(work: () => Promise<void>): Promise<void> {
    await this.#client.query('begin');
    try {
      await work();
      await this.#client.query('commit');
    } catch (error) {
      await this.#client.query('rollback').catch(() => {});
      throw error;
    }
  }

  /** Any order that matches, not always the oldest. */
  #find(matches: (order: Order) => boolean): Order | null {
    const found = [...this.#book.values()].filter(matches);
    return found.length === 0 ? null : pick(found);
  }

  #forgetOldest(): void {
    const [oldest] = this.#book.keys();
    if (oldest !== undefined) this.#book.delete(oldest);
  }

  #person(): { name: string; email: string } {
    const name = `${pick(names)} ${pick(surnames)}`;
    return { name, email: `${name.toLowerCase().replace(' ', '.')}.${this.#nextNumber()}@example.com` };
  }

  /** Grows from run to run, so that what arrives is told from what an earlier run left in the same database. */
  #nextNumber(): number {
    this.#number += 1;
    return this.#number;
  }
}

const bigTotal = () => 1000 + Math.random() * 4000;
const isBig = (order: Order) => Number(order.total) > 1000;

function pick<T>(from: readonly T[]): T {
  return from[Math.floor(Math.random() * from.length)] as T;
}
