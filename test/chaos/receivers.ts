import { answer, type HttpListener, type HttpReply, listenHttp, readBody } from '../../src/receivers/http-listener.ts';
import type { Arrival } from './checker.ts';
import { usualTimeoutMs } from './rules.ts';
import { deliveryName, digestOf, parseExactly } from './workload/change.ts';

/** How a receiver answers; null: 204 at once. */
export type Behaviour = (request: { readonly instance: number; readonly attempt: number }) => HttpReply | null;

interface Receiver {
  readonly listener: HttpListener;
  behaviour: Behaviour | null;
}

const secondMs = 1_000;
/** A second, as begunAt may be that late; and one in which a busy sender reads the answer. */
const marginMs = 2 * secondMs;

/** A real HTTP server for each destination, and every request they got. */
export class Receivers {
  readonly #receivers = new Map<string, Receiver>();
  readonly #arrivals: Arrival[] = [];
  readonly #attempts = new Map<string, number>();
  readonly #offsets = new Map<number, readonly number[]>();
  #timeoutMs = usualTimeoutMs;
  #accepted = 0;

  static async start(destinations: readonly string[]): Promise<Receivers> {
    const receivers = new Receivers();
    await Promise.all(destinations.map((name) => receivers.#open(name)));
    return receivers;
  }

  /** In order of arrival. Those not answered yet are not accepted. */
  get arrivals(): readonly Arrival[] {
    return this.#arrivals;
  }

  /** Requests answered with 2xx to the end, repeats included. */
  get accepted(): number {
    return this.#accepted;
  }

  get destinations(): readonly string[] {
    return [...this.#receivers.keys()];
  }

  /** `http://127.0.0.1:port` */
  url(destination: string): string {
    return this.#receiver(destination).listener.origin;
  }

  /** From the next request on; null: as usual. */
  behave(destination: string, behaviour: Behaviour | null): void {
    this.#receiver(destination).behaviour = behaviour;
  }

  /** Everybody answers as usual from now on. What hangs is left to its sender's deadline: cut, an answer on its way would be, too. */
  behaveAll(): void {
    for (const receiver of this.#receivers.values()) receiver.behaviour = null;
  }

  /** How long a sender waits for an answer. */
  expectAnswersWithin(timeoutMs: number): void {
    this.#timeoutMs = timeoutMs;
  }

  /** One of these is taken off the times that this instance tells. */
  correctClock(instance: number, offsetsMs: readonly number[]): void {
    this.#offsets.set(instance, offsetsMs);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#receivers.values()].map(({ listener }) => listener.close()));
  }

  #receiver(destination: string): Receiver {
    const receiver = this.#receivers.get(destination);
    if (receiver === undefined) throw new Error(`no receiver ${destination}`);
    return receiver;
  }

  async #open(destination: string): Promise<void> {
    const listener = await listenHttp((request, response) => {
      readBody(request, (body) => {
        const receiver = this.#receiver(destination);
        const arrival = this.#record(request.headers, body);
        const reply = receiver.behaviour?.({
          instance: arrival.instance,
          attempt: this.#attempts.get(arrival.delivery) ?? 1,
        });
        const { status = 200 } = reply ?? { status: 204 };
        response.once('close', () => {
          if (!response.writableFinished) return;
          arrival.accepted = status >= 200 && status < 300;
          arrival.inTime = Date.now() - arrival.begunAt < this.#timeoutMs - marginMs;
          arrival.refused = status >= 400 && status < 500 && ![408, 409, 425, 429].includes(status);
          if (arrival.accepted) this.#accepted += 1;
        });
        answer(response, reply ?? { status: 204 });
      });
    }, {});
    this.#receivers.set(destination, { listener, behaviour: null });
  }

  #record(headers: Readonly<Record<string, unknown>>, body: string): Mutable<Arrival> {
    const at = Date.now();
    const instance = Number(headers['x-instance'] ?? 0);
    const told = tellOf(body);
    const delivery = deliveryName(String(headers['x-observer']), told.source, told.operation, told.mark);
    const arrival: Mutable<Arrival> = {
      delivery,
      digest: told.digest,
      messageId: String(headers['webhook-id']),
      instance,
      at,
      begunAt: this.#begunAt(instance, Number(headers['webhook-timestamp']), at),
      accepted: false,
      inTime: false,
      refused: false,
    };
    this.#attempts.set(delivery, (this.#attempts.get(delivery) ?? 0) + 1);
    this.#arrivals.push(arrival);
    return arrival;
  }

  /** It tells whole seconds: at the latest, it began at the end of that one. */
  #begunAt(instance: number, toldSeconds: number, at: number): number {
    if (!Number.isFinite(toldSeconds)) return at;
    const times = (this.#offsets.get(instance) ?? [0]).map((offset) => toldSeconds * secondMs + secondMs - 1 - offset);
    const nearest = times.reduce((best, time) => (Math.abs(time - at) < Math.abs(best - at) ? time : best));
    return Math.min(at, nearest);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Tell {
  readonly source: string;
  readonly operation: string;
  readonly mark: string;
  readonly digest: string;
}

type Image = { readonly op?: unknown } | null | undefined;

function tellOf(body: string): Tell {
  try {
    const told = parseExactly(body) as Record<string, unknown>;
    const { source, operation, key, tenant, data } = told;
    const { new: after, old: before, payload } = data as { new?: Image; old?: Image; payload?: Image };
    return {
      source: String(source),
      operation: String(operation),
      mark: String(after?.op ?? payload?.op ?? before?.op),
      digest: digestOf({ source: String(source), operation: String(operation), key, tenant, data }),
    };
  } catch (error) {
    return { source: 'unreadable', operation: '', mark: body.slice(0, 200), digest: String(error) };
  }
}
