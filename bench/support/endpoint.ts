/**
 * A receiver in a process of its own that can be away: `down` refuses connections, `hanging` accepts them and never
 * answers, `up` answers 204.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

export type EndpointState = 'down' | 'hanging' | 'up';

export interface Endpoint {
  readonly url: string;
  become(state: EndpointState): Promise<void>;
  close(): void;
}

const source = `
  const http = require('node:http');
  let server = null, port = 0, hanging = false;
  const open = () => new Promise((opened) => {
    server = http.createServer((request, response) => {
      if (!hanging) request.resume().on('end', () => response.writeHead(204).end());
    });
    server.keepAliveTimeout = 65_000;
    server.listen(port, '127.0.0.1', () => { port = server.address().port; opened(); });
  });
  const close = () => new Promise((closed) => {
    if (server === null) return closed();
    server.close(() => closed());
    server.closeAllConnections();
    server = null;
  });
  process.on('message', async (state) => {
    hanging = state === 'hanging';
    await close();
    if (state !== 'down') await open();
    process.send({ port });
  });
  open().then(() => process.send({ port }));`;

/** Starts as `up`. */
export async function startEndpoint(): Promise<Endpoint> {
  const child: ChildProcess = spawn(process.execPath, ['--eval', source], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    url: `http://127.0.0.1:${port}/`,
    become: async (state) => {
      child.send(state);
      await once(child, 'message');
    },
    close: () => void child.kill(),
  };
}
