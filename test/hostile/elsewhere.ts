/** What no single answer shows, and the test that does: named here, and page.test.ts looks whether it is there. */
export interface Elsewhere {
  readonly title: string;
  readonly does: string;
  /** From the repository's root. */
  readonly file: string;
  /** Its name, as it is written. */
  readonly test: string;
}

const situations = 'test/hostile/situations.test.ts';

export const elsewhere: readonly Elsewhere[] = [
  {
    title: 'A destination that answered 410 is enabled by a person',
    does: 'what waited is sent; no attempt is lost',
    file: situations,
    test: '410, enabled again by a person: what waited is delivered',
  },
  {
    title: 'A destination is disabled between enqueue and send',
    does: 'its deliveries wait without an attempt, also over a restart',
    file: situations,
    test: 'disabled between enqueue and send: it waits without an attempt, also for a process that starts later',
  },
  {
    title: 'A destination is removed from the file between enqueue and send',
    does: 'its deliveries become dead letters (`rule_removed`)',
    file: 'test/recover/replay.test.ts',
    test: 'what is queued for a destination that no rule names is buried, lanes and replays included',
  },
  {
    title: '`dlq retry` while an automatic retry of the same letter is pending',
    does: 'nothing is queued a second time',
    file: situations,
    test: 'a manual retry while an automatic one is pending changes nothing, and the letter is replayed once',
  },
  {
    title: 'The same dead letter is retried twice at once; the retry fails',
    does: 'one dispatch; the letter stays, its count of replays goes up',
    file: 'test/recover/replay.test.ts',
    test: 'two replays of one dead letter dispatch once; a failing one keeps it, counted; a success takes it away',
  },
  {
    title: 'The process is stopped during an attempt',
    does: 'what ends in time is counted; what is cut is not, and is made again by the next run under the same `webhook-id`',
    file: 'test/e2e/shutdown.test.ts',
    test: '--shutdown-timeout cuts a hanging attempt, which is not counted, and the next run makes it again',
  },
  {
    title: 'A mail server says nothing',
    does: 'Slack and webhooks of the same event go out',
    file: situations,
    test: 'a mail server that says nothing delays neither Slack nor a webhook of the same event',
  },
  {
    title: 'A destination hangs, with all its places taken',
    does: 'the others go on',
    file: 'test/deliver/deliver.test.ts',
    test: 'a destination that hangs slows no other',
  },
  {
    title: 'A header value of an event holds CR, LF or NUL',
    does: 'control characters are taken out: no line ends, no header is added',
    file: situations,
    test: 'a header value of an event ends no line, and adds no header',
  },
  {
    title: 'A header of the file holds a line break, stands there twice, or is one that we set',
    does: 'refused when the file is read, with line and column',
    file: situations,
    test: 'headers %j are refused when the file is read',
  },
  {
    title: 'A URL of an event leads to an internal address, in whatever spelling',
    does: 'a dead letter at once (`address_refused`), nothing is connected',
    file: 'test/deliver/urls-from-events.test.ts',
    test: 'a URL of an event: delivered where it may go, else a dead letter that names the rule',
  },
  {
    title: 'A name of an event resolves to a public and a private address',
    does: 'the same',
    file: 'test/actions/address-guard.test.ts',
    test: 'a name with public and private answers %j is refused',
  },
  {
    title: 'A name resolves to something else between check and connect',
    does: 'the connection goes to the address that was checked',
    file: 'test/actions/address-guard.test.ts',
    test: 'connects to the very address that was looked at, and asks again for every connection',
  },
  {
    title: 'The answer is not HTTP',
    does: '`protocol`, tried again',
    file: 'test/actions/webhook.test.ts',
    test: 'what is not HTTP is a protocol fault',
  },
];
