import { expect, test } from 'vitest';
import { createLogger, HiddenSecrets } from '../../src/telemetry/log.ts';

test('secrets of the start and of every reload are hidden, also as they are written in JSON', () => {
  const lines: string[] = [];
  const secrets = new HiddenSecrets();
  const logger = createLogger('info', secrets, { write: (line) => void lines.push(line) });
  secrets.add(['first-secret', 'x', '']);
  logger.info('first-secret and second"secret, x');
  secrets.add(['second"secret']);
  logger.info({ err: new Error('second"secret') }, 'first-secret and second"secret, x');
  expect(lines[0]).toContain('[secret] and second\\"secret, x');
  expect(lines[1]).toContain('[secret] and [secret], x');
  expect(lines[1]).not.toContain('second');
});
