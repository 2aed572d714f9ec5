import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { startTcpProxy } from './tcp-proxy.ts';

/** A server that sends back what it hears, behind a proxy. */
async function world() {
  const served: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    served.push(socket);
    socket.on('data', (chunk) => socket.write(chunk));
    socket.on('end', () => socket.end());
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  const proxy = await startTcpProxy({ host: '127.0.0.1', port: address.port }, () => 0.5);
  onTestFinished(async () => {
    await proxy.stop();
    server.close();
    for (const socket of served) socket.destroy();
  });
  const dial = async () => {
    const socket = connect(proxy.port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.setEncoding('utf8').on('error', () => undefined);
    await once(socket, 'connect');
    socket.write('hello');
    expect((await once(socket, 'data'))[0]).toBe('hello');
    return socket;
  };
  return { proxy, dial, served };
}

const closed = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));

test('what is swallowed stays silent for ever at both ends, also when it is closed; new connections are served', async () => {
  const { proxy, dial, served } = await world();
  const lost = await dial();
  proxy.swallow();
  expect(proxy.connections).toBe(0);
  let told = 0;
  for (const end of [lost, ...served]) for (const news of ['data', 'end', 'close']) end.on(news, () => told++);
  lost.write('is anybody there?');
  lost.end();
  await proxy.resume();
  const next = await dial();
  next.write('and now?');
  expect((await once(next, 'data'))[0]).toBe('and now?');
  expect(told).toBe(0);
});

test('delayed and throttled bytes arrive whole and in order, and so does the end behind them', async () => {
  const { proxy, dial } = await world();
  const socket = await dial();
  proxy.delay(3, 4);
  proxy.throttle(10_000_000);
  let heard = '';
  socket.on('data', (text: string) => {
    heard += text;
  });
  const said = Array.from({ length: 20_000 }, (_, n) => `${n} `).join('');
  for (let at = 0; at < said.length; at += 7_001) socket.write(said.slice(at, at + 7_001));
  socket.end();
  await closed(socket);
  expect(heard === said, `${heard.length} of ${said.length} characters`).toBe(true);
});

test('a share of the connections is cut, the others stay', async () => {
  const { proxy, dial } = await world();
  const socket = await dial();
  proxy.cut(0.5); // the random number is 0.5 too, which is not below
  socket.write('still there');
  expect((await once(socket, 'data'))[0]).toBe('still there');
  proxy.cut(0.6);
  await closed(socket);
});
