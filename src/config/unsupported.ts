/**
 * Keys that the format will have and this version does not build. Named here, so that a reader of a later version's
 * documentation is told so, instead of "did you mean …?".
 */
export const unsupportedKeys: ReadonlySet<string> = new Set([
  '<<',
  'ingest',
  'jetstream',
  'lookup',
  'nats',
  'proxy',
  'redis',
]);
