import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import PostalMime from 'postal-mime';
import { SMTPServer } from 'smtp-server';
import type { ListenOptions } from './http-listener.ts';
import { Ledger } from './ledger.ts';
import { SocketSet } from './socket-set.ts';

export interface ReceivedMail {
  /** From 1, in order of arrival. */
  readonly number: number;
  readonly envelope: { readonly from: string; readonly to: readonly string[] };
  /** With its angle brackets; the same for every repeat. */
  readonly messageId: string | null;
  readonly subject: string | null;
  readonly text: string | null;
  readonly html: string | null;
  /** By lower-case name; of a repeated header the first. */
  readonly headers: Readonly<Record<string, string>>;
  readonly attachments: readonly ReceivedAttachment[];
  /** How it came: over TLS, and under which login. */
  readonly secure: boolean;
  readonly user: string | null;
  readonly raw: Buffer;
  readonly receivedAt: number;
}

export interface ReceivedAttachment {
  readonly filename: string | null;
  readonly contentType: string;
  readonly content: Buffer;
}

/** Where in the dialogue a reply is asked for. */
export type SmtpStage =
  | { readonly stage: 'connect' }
  | { readonly stage: 'sender'; readonly address: string }
  | { readonly stage: 'recipient'; readonly address: string }
  | { readonly stage: 'message'; readonly mail: ReceivedMail };

export interface SmtpRefusal {
  /** 400 … 599. */
  readonly code: number;
  readonly message: string;
}

export interface SmtpReceiverOptions extends ListenOptions {
  /** Default: accepts everything. `hang`: says nothing more; `drop`: cuts the connection. */
  readonly respond?: (stage: SmtpStage) => SmtpRefusal | 'hang' | 'drop' | undefined;
  /** Only this user may send; default: anyone, without a password. */
  readonly auth?: { readonly user: string; readonly pass: string };
  /** How it lets in. Default: whatever the sender prefers. */
  readonly authMethods?: readonly ('PLAIN' | 'LOGIN')[];
  /** Offers STARTTLS, with the certificate of `tls` or a self-signed one. With `tls` and without this it is TLS from the first byte. */
  readonly starttls?: boolean;
}

export interface SmtpReceiver {
  /** `smtp://127.0.0.1:port`, or smtps, with the credentials when there are any. */
  readonly url: string;
  /** Only accepted mails. */
  readonly received: Ledger<ReceivedMail>;
  readonly connections: SocketSet;
  close(): Promise<void>;
}

type Callback = (error?: Error | null) => void;

/** A real mail server on this machine that delivers nowhere, for demos and tests. @throws Error when it can't listen */
export async function startSmtpReceiver(options: SmtpReceiverOptions = {}): Promise<SmtpReceiver> {
  const received = new Ledger<ReceivedMail>('mails');
  const sockets = new SocketSet();
  const server = createServer(options, received, sockets);
  // Without a listener the reset of a sender that gave up would end the process.
  server.on('error', () => {});
  server.server.on('connection', (socket: Socket) => sockets.add(socket));
  const origin = await listen(server, options);
  let closing: Promise<void> | null = null;
  const scheme = isSecure(options) ? 'smtps' : 'smtp';
  return {
    url: options.auth === undefined ? `${scheme}://${origin}` : `${scheme}://${credentials(options.auth)}@${origin}`,
    received,
    connections: sockets,
    close: () => {
      closing ??= new Promise((resolve) => {
        server.close(() => resolve());
        sockets.destroyAll();
      });
      return closing;
    },
  };
}

const isSecure = ({ tls, starttls }: SmtpReceiverOptions) => tls !== undefined && starttls !== true;

function createServer(options: SmtpReceiverOptions, received: Ledger<ReceivedMail>, sockets: SocketSet): SMTPServer {
  const { auth } = options;
  const settle = (stage: SmtpStage, session: { readonly remotePort: number }, callback: Callback): void => {
    const reply = options.respond?.(stage);
    if (reply === undefined) callback();
    else if (reply === 'drop') sockets.destroyFrom(session.remotePort);
    else if (reply !== 'hang') callback(refusal(reply.message, reply.code));
  };
  return new SMTPServer({
    secure: isSecure(options),
    ...options.tls,
    ...(options.authMethods !== undefined && { authMethods: [...options.authMethods] }),
    authOptional: auth === undefined,
    allowInsecureAuth: true,
    disabledCommands: [...(options.starttls === true ? [] : ['STARTTLS']), ...(auth === undefined ? ['AUTH'] : [])],
    disableReverseLookup: true,
    onConnect: (session, callback) => settle({ stage: 'connect' }, session, callback),
    onAuth: (given, _session, callback) => {
      const known = given.username === auth?.user && given.password === auth?.pass;
      if (known) callback(null, { user: given.username });
      else callback(refusal('Authentication failed', 535));
    },
    onMailFrom: ({ address }, session, callback) => settle({ stage: 'sender', address }, session, callback),
    onRcptTo: ({ address }, session, callback) => settle({ stage: 'recipient', address }, session, callback),
    onData: (stream, session, callback) => {
      const { mailFrom, rcptTo } = session.envelope;
      const envelope = { from: mailFrom === false ? '' : mailFrom.address, to: rcptTo.map(({ address }) => address) };
      const take = (mail: ReceivedMail) =>
        settle({ stage: 'message', mail }, session, (error) => {
          if (!error) received.record(mail);
          callback(error);
        });
      const how = { secure: session.secure, user: session.user === undefined ? null : String(session.user) };
      readMail(stream, envelope, how, received.total + 1).then(take, (error: unknown) =>
        callback(refusal(String(error), 451)),
      );
    },
  });
}

function refusal(message: string, responseCode: number): Error {
  return Object.assign(new Error(message), { responseCode });
}

async function readMail(
  stream: Readable,
  envelope: ReceivedMail['envelope'],
  how: Pick<ReceivedMail, 'secure' | 'user'>,
  number: number,
): Promise<ReceivedMail> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  const raw = Buffer.concat(chunks);
  const parsed = await PostalMime.parse(raw);
  const headers: Record<string, string> = {};
  for (const { key, value } of parsed.headers) headers[key] ??= value;
  return {
    number,
    envelope,
    messageId: parsed.messageId ?? null,
    subject: parsed.subject ?? null,
    text: parsed.text ?? null,
    html: parsed.html ?? null,
    headers,
    attachments: parsed.attachments.map(({ filename, mimeType, content }) => ({
      filename,
      contentType: mimeType,
      content: typeof content === 'string' ? Buffer.from(content) : Buffer.from(new Uint8Array(content)),
    })),
    ...how,
    raw,
    receivedAt: Date.now(),
  };
}

async function listen(server: SMTPServer, options: SmtpReceiverOptions): Promise<string> {
  const host = options.host ?? '127.0.0.1';
  await new Promise<void>((resolve, reject) => {
    server.server.once('error', reject);
    server.listen(options.port ?? 0, host, () => {
      server.server.off('error', reject);
      resolve();
    });
  });
  const address = server.server.address();
  return `${host}:${typeof address === 'object' && address !== null ? address.port : 0}`;
}

function credentials({ user, pass }: { user: string; pass: string }): string {
  return `${encodeURIComponent(user)}:${encodeURIComponent(pass)}`;
}
