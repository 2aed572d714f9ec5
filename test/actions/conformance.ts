import { createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { ActionType, DestinationClient } from '../../src/actions/contract.ts';
import { Deadline } from '../../src/actions/deadline.ts';
import type { Outcome } from '../../src/domain/outcome.ts';
import type { Action, Destination } from '../../src/domain/rules.ts';
import type { SocketSet } from '../../src/receivers/socket-set.ts';
import { attempt, type Judged, judged, scopeOf, services, someMessageId } from './fixtures.ts';

/** What every kind of receiver can do, in the words of its protocol. */
export type Behaviour = 'accept' | 'refuse-for-now' | 'refuse-for-good' | 'hang';

export interface ConformanceReceiver {
  readonly connections: SocketSet;
  /** How many messages arrived: at a refusal also those refused, where the protocol transmits them. */
  arrived(): number | Promise<number>;
  /** The stable id of each accepted message. */
  messageIds(): readonly (string | null)[] | Promise<readonly (string | null)[]>;
  /** Resolves when a message or the dialogue that leads to it has begun. */
  whenBusy(): Promise<unknown>;
  close(): Promise<void>;
}

export interface ConformanceFixture {
  /** Its destinations gather: several requests may become one. */
  readonly combines?: boolean;
  readonly actionType: ActionType;
  readonly action: Action;
  /** An action whose rendering fails on the event. */
  readonly unrenderable: Action;
  /** Every secret in the destination that `start` makes. */
  readonly secrets: readonly string[];
  start(behaviour: Behaviour): Promise<{ receiver: ConformanceReceiver; destination: Destination }>;
  /** The same destination, at an address; null when it has none. Then it neither refuses nor hangs, either. */
  readonly at: ((hostAndPort: string) => Destination) | null;
  /** What names the receiver in messages, when it isn't its address. */
  readonly place?: string;
  /** Connections are somebody else's business, who makes new ones as he likes. */
  readonly reconnects?: boolean;
  /** Whether refusals of the protocol have a number. Default: true. */
  readonly hasStatus?: boolean;
  /** How the stable id reads at the receiver; null when the protocol has no place for one. */
  readonly expectedId: string | null;
}

/** What `ActionType` promises, held against a real receiver. */
export function describeConformance(name: string, fixture: ConformanceFixture): void {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  const open = (destination: Destination): DestinationClient => {
    const client = fixture.actionType.open(destination, services);
    closing.unshift(() => client.close());
    return client;
  };
  const start = async (behaviour: Behaviour) => {
    const { receiver, destination } = await fixture.start(behaviour);
    closing.push(() => receiver.close());
    return { receiver, destination, client: open(destination) };
  };
  const { at, hasStatus = true } = fixture;
  const remote = test.skipIf(at === null);
  const openAt = (hostAndPort: string) => {
    if (at === null) throw new Error('it has no address');
    return open(at(hostAndPort));
  };
  const judge = (sent: Promise<Outcome>) => judged(fixture.action.kind, sent);
  const send = (client: DestinationClient, timeoutMs?: number): Promise<Judged> =>
    judge(client.send(client.render(fixture.action, scopeOf(), someMessageId), attempt(timeoutMs)));

  describe(`${name} conforms`, () => {
    test('delivers', async () => {
      const { client, receiver } = await start('accept');
      expect(await send(client)).toMatchObject({ kind: 'delivered' });
      expect(await receiver.arrived()).toBe(1);
    });

    test('a repeat carries the same id', async () => {
      const { client, receiver } = await start('accept');
      await send(client);
      await send(client);
      expect(await receiver.messageIds()).toEqual([fixture.expectedId, fixture.expectedId]);
    });

    test('renders the same request every time, apart from the attempt', async () => {
      const { client } = await start('accept');
      const [one, two] = [1, 2].map(() => client.render(fixture.action, scopeOf(), someMessageId));
      expect(one).toEqual(two);
      expect(client.describe(one)).toEqual(client.describe(two));
    });

    test('what can not be rendered throws an ExpressionError', async () => {
      const { client } = await start('accept');
      expect(() => client.render(fixture.unrenderable, scopeOf(), someMessageId)).toThrowError(
        expect.objectContaining({ name: 'ExpressionError' }),
      );
    });

    remote('a refusal for now is retried, with class and status', async () => {
      const { client } = await start('refuse-for-now');
      const outcome = await send(client);
      expect(outcome).toMatchObject({ kind: 'retry', errorClass: expect.stringMatching(/^[a-z0-9_]+$/) });
      expect(outcome.status ?? 0).toBeGreaterThan(hasStatus ? 0 : -1);
    });

    remote('a refusal for good is rejected, with class and status', async () => {
      const { client } = await start('refuse-for-good');
      const outcome = await send(client);
      expect(outcome).toMatchObject({ kind: 'rejected', errorClass: expect.stringMatching(/^[a-z0-9_]+$/) });
      expect(outcome.status ?? 0).toBeGreaterThan(hasStatus ? 0 : -1);
    });

    test.runIf(fixture.combines)(
      'several requests in one are one message with an id of its own, the same every time',
      async () => {
        const { client, receiver } = await start('accept');
        const { combining } = client;
        if (!combining) throw new Error('it combines nothing');
        const ids = ['msg_one', 'msg_two', 'msg_three'];
        const combined = () => {
          const requests = ids.map((id) => client.render(fixture.action, scopeOf(), id));
          expect(new Set(requests.map((request) => combining.keyOf(request))).size).toBe(1);
          for (const request of requests) expect(combining.sizeOf(request)).toBeGreaterThan(0);
          return combining.combine(requests);
        };
        expect(combined()).toEqual(combined());
        expect(() => JSON.stringify(client.describe(combined()))).not.toThrow();
        expect(client.noteOf?.(combined())).toEqual(client.noteOf?.(combined()));
        expect(await judge(client.send(combined(), attempt()))).toMatchObject({ kind: 'delivered' });
        expect(await receiver.arrived()).toBe(1);
        // One alone keeps its id; several have one that is nobody's.
        const alone = client.render(fixture.action, scopeOf(), someMessageId);
        await judge(client.send(combining.combine([alone]), attempt()));
        const [ofAll, ofOne] = await receiver.messageIds();
        expect(ofOne).toBe(fixture.expectedId);
        for (const id of ids) expect(ofAll).not.toContain(id);
      },
    );

    test('a note that it can not read is none, and a note names its place the same every time', async () => {
      const { client, receiver } = await start('accept');
      const request = client.render(fixture.action, scopeOf(), someMessageId);
      const strange = [undefined, null, 'text', 7, [], {}, { ts: 1, accepted: 1 }];
      for (const note of strange) {
        expect(await judge(client.send(request, { ...attempt(), note }))).toMatchObject({ kind: 'delivered' });
        expect(() => JSON.stringify(client.describe(request, note))).not.toThrow();
      }
      expect(await receiver.arrived()).toBe(strange.length);
      expect(client.noteOf?.(client.render(fixture.action, scopeOf(), someMessageId))).toEqual(
        client.noteOf?.(request),
      );
    });

    remote('a hanging receiver is a timeout, and its connection is gone', async () => {
      const { client, receiver } = await start('hang');
      expect(await send(client, 200)).toMatchObject({ kind: 'retry', errorClass: 'timeout', retryAfterMs: null });
      await receiver.connections.whenEmpty();
      await send(client, 200);
      await receiver.connections.whenEmpty();
      // One for each attempt: a cut one must not be replaced before it is needed.
      if (fixture.reconnects !== true) expect(receiver.connections.total).toBe(2);
    });

    remote('one that is cut off in the middle settles, and the client still works for the next attempt', async () => {
      const { client, receiver } = await start('hang');
      const deadline = new Deadline(60_000);
      const context = { deadline, timeoutMs: 60_000, number: 1 };
      const pending = judge(client.send(client.render(fixture.action, scopeOf(), someMessageId), context));
      await receiver.whenBusy();
      deadline.pass();
      expect(await pending).toMatchObject({ kind: 'retry', errorClass: 'timeout' });
      // More hanging attempts than connections: none may find the pool still taken.
      const more = await Promise.all(Array.from({ length: 9 }, () => send(client, 300)));
      expect(more.map((outcome) => 'errorClass' in outcome && outcome.errorClass)).toEqual(Array(9).fill('timeout'));
    });

    test('a deadline that has passed already sends nothing', async () => {
      const { client, receiver } = await start('accept');
      const deadline = new Deadline(1000);
      deadline.pass();
      const context = { deadline, timeoutMs: 1000, number: 1 };
      const request = client.render(fixture.action, scopeOf(), someMessageId);
      expect(await judge(client.send(request, context))).toMatchObject({ kind: 'retry', errorClass: 'timeout' });
      expect(await receiver.arrived()).toBe(0);
      expect(receiver.connections.size).toBe(0);
    });

    remote('opens while nobody is there; the attempt says so and is retried', async () => {
      const client = openAt(await freeAddress());
      expect(await send(client)).toMatchObject({ kind: 'retry', errorClass: 'connection_refused', status: null });
    });

    remote('a host name that does not resolve is retried', async () => {
      const client = openAt('nowhere.invalid:1234');
      const outcome = await send(client);
      expect(outcome).toMatchObject({ kind: 'retry', errorClass: 'dns', status: null });
      expect('message' in outcome && outcome.message).toContain(fixture.place ?? 'nowhere.invalid:1234');
    });

    remote('no outcome and no description holds a secret', async () => {
      const texts: string[] = [];
      for (const behaviour of ['accept', 'refuse-for-now', 'refuse-for-good', 'hang'] as const) {
        const { client } = await start(behaviour);
        const request = client.render(fixture.action, scopeOf(), someMessageId);
        texts.push(JSON.stringify([await client.send(request, attempt(200)), client.describe(request)]));
      }
      const unreachable = openAt(await freeAddress());
      texts.push(JSON.stringify(await send(unreachable)));
      for (const secret of fixture.secrets) expect(texts.join('\n')).not.toContain(secret);
    });

    test('sends at the same time', async () => {
      const { client, receiver } = await start('accept');
      const outcomes = await Promise.all(Array.from({ length: 40 }, () => send(client)));
      expect(outcomes.every(({ kind }) => kind === 'delivered')).toBe(true);
      expect(await receiver.arrived()).toBe(40);
    });

    remote('close is idempotent, lets go of its connections, and later attempts are outcomes too', async () => {
      const { client, receiver } = await start('accept');
      await send(client);
      await Promise.all([client.close(), client.close()]);
      await client.close();
      await receiver.connections.whenEmpty();
      expect(await send(client)).toMatchObject({ kind: 'retry' });
    });
  });
}

/** Where nobody listens any more. */
async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
}
