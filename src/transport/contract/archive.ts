/** Recover: days that leave the log are kept elsewhere. */

import { UserError } from '../../domain/errors.ts';
import type { LogDay } from '../../domain/retention.ts';

/** Where days are kept once they leave the log. */
export interface DayArchive {
  /** @throws ArchiveError when nothing can be stored there now; asked before a day is read */
  check(): Promise<void>;
  /**
   * Stores a day whole, or not at all; one that is there already is replaced. Lines are taken as fast as they can be
   * written. When this resolves they have been read back, and a crash can't take them away any more.
   *
   * @param lines JSON, without line breaks
   * @throws ArchiveError, or whatever `lines` throws
   */
  store(day: StoredDay, lines: AsyncIterable<string>): Promise<ArchivedDay>;
  /**
   * What this process has stored already, read back again; null: it has not. A day whose drop failed need not be written
   * again when it has as many rows as then: rows are added, and never changed.
   */
  stored(day: StoredDay): Promise<ArchivedDay | null>;
}

export interface StoredDay extends Pick<LogDay, 'name' | 'table' | 'day'> {
  /** Whose log it is: two databases must not take one directory for theirs. */
  readonly database: string;
}

export interface ArchivedDay {
  /** Path. */
  readonly file: string;
  readonly rows: number;
  /** Of the file. */
  readonly bytes: number;
  /** Of the lines, each with its line break; hexadecimal. */
  readonly sha256: string;
}

/** The archive can't take a day, or a file of it is damaged: what is wrong, and where. A day that it refused stays in the log. */
export class ArchiveError extends UserError {
  override readonly name = 'ArchiveError';
}
