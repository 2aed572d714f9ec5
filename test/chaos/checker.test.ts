import { describe, expect, it } from 'vitest';
import { type Arrival, broken, check, type DeadLetter, type Expected, type Fault, type History } from './checker.ts';

/** Two changes of one key, a moment apart, each accepted once by its receiver and settled 10 ms later. */
const first: Expected = { delivery: 'a', digest: 'A', lane: 'lane', order: 1, optional: false };
const second: Expected = { delivery: 'b', digest: 'B', lane: 'lane', order: 2, optional: false };

const arrival = (of: Expected, at: number, more: Partial<Arrival> = {}): Arrival => ({
  delivery: of.delivery,
  digest: of.digest,
  messageId: `id of ${of.delivery}`,
  instance: 1,
  at,
  begunAt: at,
  accepted: true,
  inTime: true,
  refused: false,
  ...more,
});

const settled = (times: Record<string, number>) =>
  new Map(Object.entries(times).map(([of, at]) => [`id of ${of}`, at]));

const history = (more: Partial<History> = {}): History => ({
  expected: [first, second],
  arrivals: [arrival(first, 100), arrival(second, 200)],
  faults: [],
  settledAt: settled({ a: 110, b: 210 }),
  settledTwice: [],
  deadLetters: [],
  leftovers: 0,
  repeats: 'in flight',
  ...more,
});

const kill = (startAt: number, more: Partial<Fault> = {}): Fault => ({
  kind: 'kill',
  permits: 'repeats',
  instance: 1,
  startAt,
  endAt: startAt + 5,
  ...more,
});

/** Only what is not zero. */
function verdictOf(more: Partial<History>): Record<string, number> {
  const verdict = check(history(more));
  const kinds = [...broken, 'duplicates', 'lateRepeats', 'deadLetters'] as const;
  return Object.fromEntries(kinds.flatMap((kind) => (verdict[kind] === 0 ? [] : [[kind, verdict[kind]]])));
}

it('what arrived once, in order and as it committed breaks nothing', () => {
  expect(check(history())).toMatchObject({ deliveries: 2, requests: 2, duplicates: 0, violations: [] });
});

describe('lost', () => {
  it('is what never arrived', () => {
    expect(verdictOf({ arrivals: [arrival(first, 100)] })).toEqual({ lost: 1 });
  });

  it('is what nobody ever accepted', () => {
    const refused = arrival(second, 200, { accepted: false });
    expect(verdictOf({ arrivals: [arrival(first, 100), refused] })).toEqual({ lost: 1 });
  });

  it('is not what need not arrive', () => {
    expect(verdictOf({ expected: [first, { ...second, optional: true }], arrivals: [arrival(first, 100)] })).toEqual(
      {},
    );
  });
});

describe('a repeat', () => {
  const repeated = (at: number, more: Partial<Arrival> = {}) => [
    arrival(first, 100),
    arrival(first, at, { instance: 2, ...more }),
    arrival(second, 900),
  ];

  it('without a fault is not explained', () => {
    expect(verdictOf({ arrivals: repeated(150), settledAt: settled({ a: 160 }) })).toEqual({
      duplicates: 1,
      unexplainedDuplicates: 1,
    });
  });

  it('of what was in flight at a kill is explained', () => {
    const settledAt = settled({ a: 510 });
    expect(verdictOf({ arrivals: repeated(500), settledAt, faults: [kill(105)] })).toEqual({ duplicates: 1 });
  });

  it('that a process was about to begin when it was stopped is explained, once for each pause', () => {
    const pause = kill(105, { kind: 'pause', permits: 'late repeats', wakes: true, endAt: 490 });
    const settledAt = settled({ a: 300, b: 310 });
    const arrivals = [first, second].map((one) => arrival(one, 250, { instance: 2 }));
    const one = [...arrivals, arrival(first, 500)];
    expect(verdictOf({ arrivals: one, settledAt, faults: [pause] })).toEqual({ duplicates: 1, lateRepeats: 1 });
    const two = [...one, arrival(second, 501)];
    expect(verdictOf({ arrivals: two, settledAt, faults: [pause] })).toMatchObject({
      duplicates: 2,
      unexplainedDuplicates: 1,
    });
  });

  it('is never explained where none may be', () => {
    const broken = {
      arrivals: repeated(500),
      settledAt: settled({ a: 510 }),
      faults: [kill(105)],
      repeats: 'none',
    } as const;
    expect(verdictOf(broken)).toEqual({ duplicates: 1, unexplainedDuplicates: 1 });
  });

  it.each([
    ['of another instance', kill(105, { instance: 3 }), 510],
    ['that permits nothing', kill(105, { permits: 'nothing' }), 510],
    ['that was over before the request began', kill(50), 510],
    ['that came after the repeat', kill(600), 700],
    ['that came when its outcome was written', kill(120), 110],
  ])('is not explained by a fault %s', (_, fault, settledAt) => {
    const verdict = verdictOf({ arrivals: repeated(500), settledAt: settled({ a: settledAt }), faults: [fault] });
    expect(verdict).toEqual({ duplicates: 1, unexplainedDuplicates: 1 });
  });

  it('that began when the delivery was settled is never explained, whoever was paused', () => {
    const faults = [kill(105, { permits: 'late repeats', endAt: 490 })];
    const verdict = verdictOf({ arrivals: repeated(500), settledAt: settled({ a: 300 }), faults });
    expect(verdict).toEqual({ duplicates: 1, unexplainedDuplicates: 1 });
  });

  it('is not a request after one that was not accepted, or too late for its sender to know', () => {
    for (const more of [{ accepted: false }, { inTime: false }]) {
      const arrivals = [arrival(first, 100, more), arrival(first, 150), arrival(second, 200)];
      expect(verdictOf({ arrivals, settledAt: settled({ a: 160 }) })).toEqual({});
    }
  });

  it('of a repeat needs a fault of its own', () => {
    const arrivals = [...repeated(500), arrival(first, 1_000, { instance: 3 })];
    const once = { arrivals, settledAt: settled({ a: 1_010 }), expected: [first] };
    expect(verdictOf({ ...once, faults: [kill(105)] })).toMatchObject({ duplicates: 2, unexplainedDuplicates: 1 });
    expect(verdictOf({ ...once, faults: [kill(105), kill(505, { instance: 2 })] })).not.toHaveProperty(
      'unexplainedDuplicates',
    );
  });
});

describe('out of order', () => {
  it('is an older change after a younger one', () => {
    expect(verdictOf({ arrivals: [arrival(second, 100), arrival(first, 200)] })).toEqual({ outOfOrder: 1 });
  });

  it('is also one that waited for its retry', () => {
    const arrivals = [arrival(first, 100, { accepted: false }), arrival(second, 200), arrival(first, 300)];
    expect(verdictOf({ arrivals })).toEqual({ outOfOrder: 1 });
  });

  it('is not asked of other lanes, nor where there is none', () => {
    const arrivals = [arrival(second, 100), arrival(first, 200)];
    expect(verdictOf({ arrivals, expected: [{ ...first, lane: 'other' }, second] })).toEqual({});
    expect(verdictOf({ arrivals, expected: [{ ...first, lane: null }, second] })).toEqual({});
  });

  it('is a repeat after a younger change, even an explained one', () => {
    const arrivals = [arrival(first, 100), arrival(second, 200), arrival(first, 300)];
    const settledAt = settled({ a: 310, b: 210 });
    expect(verdictOf({ arrivals, settledAt, faults: [kill(105)] })).toEqual({ duplicates: 1, outOfOrder: 1 });
  });

  it('is not the request that a stopped process could not take back', () => {
    const held = arrival(first, 520, { begunAt: 100 });
    const arrivals = [arrival(first, 300, { instance: 2 }), arrival(second, 400, { instance: 2 }), held];
    const faults = [kill(105, { kind: 'pause', permits: 'late repeats', endAt: 510 })];
    expect(verdictOf({ arrivals, settledAt: settled({ a: 310, b: 410 }), faults })).toEqual({
      duplicates: 1,
      lateRepeats: 1,
    });
  });

  it('is not that request when the one in its place went out after the fault', () => {
    const held = arrival(first, 540, { begunAt: 100 });
    const arrivals = [arrival(first, 520, { instance: 2 }), arrival(second, 530, { instance: 2 }), held];
    const faults = [kill(105, { kind: 'pause', permits: 'late repeats', endAt: 510 })];
    expect(verdictOf({ arrivals, settledAt: settled({ a: 525, b: 535 }), faults })).toEqual({
      duplicates: 1,
      lateRepeats: 1,
    });
  });

  it('is not a request that was given up, and read after its retry', () => {
    const slow = arrival(first, 300, { begunAt: 50, inTime: false });
    const arrivals = [arrival(first, 100), arrival(second, 200), slow];
    expect(verdictOf({ arrivals })).toEqual({ lateRepeats: 1 });
    expect(
      verdictOf({ arrivals: [arrival(first, 100), arrival(second, 200), { ...slow, inTime: true }] }),
    ).toMatchObject({
      outOfOrder: 1,
    });
  });

  it('is one that it began when it woke', () => {
    const zombie = arrival(first, 520);
    const arrivals = [arrival(first, 300, { instance: 2 }), arrival(second, 400, { instance: 2 }), zombie];
    const faults = [kill(105, { kind: 'pause', permits: 'late repeats', endAt: 510 })];
    expect(verdictOf({ arrivals, settledAt: settled({ a: 310, b: 410 }), faults })).toEqual({
      duplicates: 1,
      unexplainedDuplicates: 1,
      outOfOrder: 1,
    });
  });
});

describe('the content', () => {
  it('is wrong when it is not what committed', () => {
    expect(verdictOf({ arrivals: [arrival(first, 100, { digest: '?' }), arrival(second, 200)] })).toEqual({
      wrongPayload: 1,
    });
  });

  it('is wrong when a retry comes under another id, or under the id of another delivery', () => {
    const retry = [
      arrival(first, 100, { accepted: false }),
      arrival(first, 150, { messageId: 'new' }),
      arrival(second, 200),
    ];
    expect(verdictOf({ arrivals: retry })).toEqual({ wrongPayload: 1 });
    const shared = [arrival(first, 100), arrival(second, 200, { messageId: 'id of a' })];
    expect(verdictOf({ arrivals: shared })).toEqual({ wrongPayload: 1 });
  });

  it('of what never committed is a phantom', () => {
    const arrivals = [...history().arrivals, arrival({ ...first, delivery: 'never' }, 300)];
    expect(verdictOf({ arrivals })).toEqual({ phantoms: 1 });
  });
});

describe('a dead letter', () => {
  const dead = (reason: string): { deadLetters: DeadLetter[] } => ({ deadLetters: [{ delivery: 'b', reason }] });
  const withSecond = (more: Partial<Arrival>) => ({ arrivals: [arrival(first, 100), arrival(second, 200, more)] });
  const refusal = withSecond({ accepted: false, refused: true });
  const failure = withSecond({ accepted: false });

  it.each([
    ['rejected', refusal, true],
    ['rejected', failure, false],
    ['exhausted', failure, true],
    ['exhausted', { arrivals: [arrival(first, 100)] }, false],
    ['exhausted', {}, false],
    ['engine_fault', failure, false],
    ['rule_removed', failure, false],
  ])('%s: with a cause, and not lost', (reason, arrivals, hasCause) => {
    expect(verdictOf({ ...arrivals, ...dead(reason) })).toEqual({
      deadLetters: 1,
      ...(hasCause ? {} : { unexplainedDeadLetters: 1 }),
    });
  });

  it('of a rule that came and went has a cause', () => {
    const expected = [first, { ...second, optional: true }];
    expect(verdictOf({ expected, ...failure, ...dead('rule_removed') })).toEqual({ deadLetters: 1 });
  });
});

it('two outcomes of one delivery, and rows left in the queue, are found', () => {
  expect(verdictOf({ settledTwice: ['id of a'], leftovers: 3 })).toEqual({ settledTwice: 1, leftovers: 3 });
});

it('says what was broken, by whom and when', () => {
  const [violation] = check(history({ arrivals: [arrival(second, 100), arrival(first, 200)] })).violations;
  expect(violation?.text).toBe(
    'accepted from instance 1 at 1970-01-01T00:00:00.200Z, after b accepted from instance 1 at 1970-01-01T00:00:00.100Z',
  );
});
