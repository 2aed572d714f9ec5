import { createInterface } from 'node:readline/promises';
import { UserError } from '../domain/errors.ts';

export interface Confirmation {
  /** `--yes`. */
  readonly yes?: true;
  /** What else one may do when nobody is there to ask: `pass --yes to do it`. */
  readonly otherwise: string;
}

/** @throws UserError when the answer is not yes, or nobody is there to ask */
export async function confirm(question: string, { yes, otherwise }: Confirmation): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY)
    throw new UserError(`${question}\nNobody to ask: ${otherwise}.`, 2, { code: 'PGO-CONFIRM' });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${question}\nDo it? [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new UserError('Nothing was changed.', 1, { code: 'PGO-CONFIRM' });
  } finally {
    terminal.close();
  }
}
