import { Socket } from 'node:net';
import type { ClientConfig } from 'pg';
import pgListen from 'pg-listen';

/*
 * One LISTEN connection on pg-listen 1.7.0, from connect to loss; never a second one. pg-listen's own reconnecting is
 * switched off, as it can't be contained (what each point costs was measured against 1.7.0):
 *
 * - it gives up for ever after 3 s, or with retryTimeout 0 never, not even after close(), which then neither returns nor
 *   frees the connection it makes next; a connect() that rejects goes on reconnecting behind the caller's back.
 *   `retryLimit: 1` means no reconnection at all: it reports the loss as its event `error` and stops.
 * - the client is its secret, so a half-open connection could be dropped but not closed. We hand it the socket
 *   (node-postgres' `stream`), and the socket tells us all we need: destroyed, it ends everything; its `close` is the loss.
 * - it parses payloads as JSON and loses what is not; an empty payload arrives as undefined.
 * - without a listener for `error` the process ends.
 * - its heartbeat ("paranoid checking") notices a half-open connection only when the query can time out.
 *
 * What is left: the reason of a loss stays inside ("terminating connection due to administrator command" can't be told
 * from a heartbeat without an answer), and there is no way to run a query of our own on the connection.
 */

/** A beat every 2 s that must be answered within 1.5 s: node-postgres' keepAlive alone noticed nothing in 20 s. */
const heartbeatMs = 2_000;
const answerWithinMs = 1_500;
const connectWithinMs = 5_000;

/** The server's side of a half-open connection goes away too. Before the caller's own options, so that those win. */
const sessionOptions =
  '-c tcp_user_timeout=10000 -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3';

export interface ListenerConnection {
  /** Resolves with the reason when the connection has ended, whoever ended it. */
  readonly lost: Promise<Error>;
  /** Listens to exactly these channels. A failure ends the connection. */
  listenTo(channels: ReadonlySet<string>): Promise<void>;
  /** Says good-bye to the server, or hangs up when it does not answer within a second. Idempotent. */
  close(): Promise<void>;
}

/** @throws Error when there is no connection within 5 s, or when the signal is aborted first */
export async function openConnection(
  config: ClientConfig,
  onNotification: (channel: string, payload: string) => void,
  signal: AbortSignal,
): Promise<ListenerConnection> {
  const socket = new Socket();
  const lost = lossOf(socket);
  const subscriber = pgListen.default(
    {
      connectionTimeoutMillis: connectWithinMs,
      ...config,
      options: config.options === undefined ? sessionOptions : `${sessionOptions} ${config.options}`,
      query_timeout: answerWithinMs,
      stream: () => socket,
    },
    { parse: (payload) => payload, paranoidChecking: heartbeatMs, retryLimit: 1, retryTimeout: 0 },
  );
  subscriber.events.on('error', () => socket.destroy());
  subscriber.events.on('notification', ({ channel, payload }) => onNotification(channel, payload ?? ''));

  let closing: Promise<void> | null = null;
  const close = () => {
    closing ??= hangUp(socket, lost, () => subscriber.close());
    return closing;
  };
  const abort = () => socket.destroy();
  signal.addEventListener('abort', abort);
  try {
    signal.throwIfAborted();
    // The heartbeat begins before the connection does, and one that fails meanwhile leaves connect() pending for ever.
    await Promise.race([subscriber.connect(), lost.then((reason) => Promise.reject(reason))]);
  } catch (error) {
    abort();
    await close();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
  return { lost, close, listenTo: subscription(subscriber, socket) };
}

function lossOf(socket: Socket): Promise<Error> {
  let reason: Error | null = null;
  socket.once('error', (error) => {
    reason = error;
  });
  return new Promise((resolve) => {
    socket.once('close', () => {
      const message = `the server ended the connection, or did not answer a heartbeat within ${answerWithinMs} ms`;
      resolve(reason ?? new Error(message));
    });
  });
}

async function hangUp(socket: Socket, lost: Promise<Error>, sayGoodBye: () => Promise<void>): Promise<void> {
  const timer = setTimeout(() => socket.destroy(), 1_000);
  // Also stops the heartbeat. Its promise is not awaited: it may stay pending for ever.
  sayGoodBye().catch(() => undefined);
  await lost;
  clearTimeout(timer);
}

/** LISTEN and UNLISTEN one after the other: node-postgres 9 will refuse a query while another one runs. */
function subscription(subscriber: pgListen.Subscriber, socket: Socket): ListenerConnection['listenTo'] {
  let turn: Promise<void> = Promise.resolve();
  const change = async (wanted: ReadonlySet<string>) => {
    const current = new Set(subscriber.getSubscribedChannels());
    try {
      for (const channel of wanted) if (!current.has(channel)) await subscriber.listenTo(channel);
      for (const channel of current) if (!wanted.has(channel)) await subscriber.unlisten(channel);
    } catch (error) {
      socket.destroy();
      throw error;
    }
  };
  return (wanted) => {
    turn = turn.then(
      () => change(wanted),
      () => change(wanted),
    );
    return turn;
  };
}
