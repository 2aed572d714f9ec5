import { connect, type Socket } from 'node:net';
import { afterAll } from 'vitest';
import { type BehavingReceiver, startBehavingReceiver } from '../../src/receivers/behaving-receiver.ts';
import { type TlsMaterial, type TlsMode, tlsMaterial, tlsModes } from '../../src/receivers/certificate.ts';
import { freePort } from '../support/free-port.ts';
import { startProcess } from '../support/processes.ts';
import { cases, type HostileCase } from './cases.ts';

/** Where the cases lead to. For the top level of a file: everything ends with it. */
export interface Site {
  readonly receiver: BehavingReceiver;
  /** As a destination has it. */
  url(hostile: HostileCase): string;
  /** Those that come from the event, by name of the case. */
  readonly urls: Readonly<Record<string, string>>;
  /** What the destination needs to trust its receiver as far as its fault. */
  ca(hostile: HostileCase): string | null;
}

export async function startSite(): Promise<Site> {
  const receiver = await startBehavingReceiver();
  afterAll(() => receiver.close());
  const secure = new Map<string, { readonly url: string; readonly material: TlsMaterial }>();
  for (const mode of tlsModes) {
    const material = tlsMaterial(mode, '127.0.0.1');
    const started = await startBehavingReceiver({ tls: material });
    afterAll(() => started.close());
    secure.set(mode, { url: started.url, material });
  }
  const elsewhere: Readonly<Record<Exclude<HostileCase['at'], TlsMode | undefined>, string>> = {
    refused: `http://127.0.0.1:${await freePort()}/`,
    blackhole: await startBlackhole(),
    'unknown-host': 'http://nowhere.invalid/',
  };
  const { port } = new URL(receiver.url);
  const fromEvent = cases.flatMap(({ name, host }) =>
    host === undefined ? [] : [[name, `http://${host}:${port}/let-in`]],
  );
  return {
    receiver,
    urls: Object.fromEntries(fromEvent),
    url: ({ at, path, host, name }) => {
      if (host !== undefined) return `\${{ payload.urls["${name}"] }}`;
      if (at === undefined) return `${receiver.url}${path}`;
      return secure.get(at)?.url ?? elsewhere[at as keyof typeof elsewhere];
    },
    ca: ({ at }) => secure.get(at ?? '')?.material.ca ?? null,
  };
}

/**
 * A process that listens and is stopped: the kernel fills its queue, and then drops whoever comes, as a firewall does.
 * Addresses said to lead nowhere depend on the network of whoever runs the tests.
 */
async function startBlackhole(): Promise<string> {
  const program = `require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log('at ' + this.address().port) })`;
  const listener = startProcess(process.execPath, ['-e', program]);
  const [, port = ''] = await listener.waitForLine(/^at (\d+)$/);
  listener.signal('SIGSTOP');
  // A queue of one holds two.
  const queued = [await connected(Number(port)), await connected(Number(port))];
  afterAll(() => {
    for (const socket of queued) socket.destroy();
  });
  return `http://127.0.0.1:${port}/`;
}

function connected(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', reject);
  });
}
