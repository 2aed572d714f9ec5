/**
 * Days as files of a directory. A file has its name only when it is whole: it is written under another one, flushed to the
 * disk, read back, and renamed. A crash leaves at most one unfinished file, which the next try writes over.
 */

import { createHash } from 'node:crypto';
import { access, constants, type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { type ArchivedDay, ArchiveError, type DayArchive, type StoredDay } from '../contract.ts';
import { dayFileName, headerBytes, headerLength } from './day-file.ts';
import { readDay, readHeader } from './day-reader.ts';

/** Lines are handed to the compressor together: one by one, each would cost more than its compression. */
const chunkChars = 256 * 1024;

export function openArchive(directory: string): DayArchive {
  const known = new Map<string, ArchivedDay>();
  return {
    check: () => requireDirectory(directory),
    store: async (day, lines) => {
      await requireDirectory(directory);
      const stored = await storeDay(directory, day, lines);
      known.set(day.name, stored);
      return stored;
    },
    stored: async ({ name }) => {
      const stored = known.get(name);
      if (stored === undefined) return null;
      // Whatever is wrong with it now: it is written again.
      const whole = await readBack(stored.file, stored).then(
        () => true,
        () => false,
      );
      return whole ? stored : null;
    },
  };
}

async function storeDay(directory: string, day: StoredDay, lines: AsyncIterable<string>): Promise<ArchivedDay> {
  const file = join(directory, dayFileName(day.name));
  const unfinished = `${file}.unfinished`;
  await requireOwnFile(file, day);
  const source = watched(lines);
  try {
    const written = await write(unfinished, day, source);
    await readBack(unfinished, written);
    await rename(unfinished, file);
    await flushDirectory(directory);
    return { ...written, file, bytes: (await stat(file)).size };
  } catch (error) {
    // As much as can be: a full disk should not stay full of what is of no use.
    await rm(unfinished, { force: true }).catch(() => {});
    if (source.failed || error instanceof ArchiveError) throw error;
    throw refused(directory, error);
  }
}

/** A damaged file may be replaced; one of another database would be lost. */
async function requireOwnFile(file: string, { database }: StoredDay): Promise<void> {
  const header = await readHeader(file).catch(() => null);
  if (header === null || header.database === database) return;
  throw new ArchiveError(
    `${file} is of another database (${header.database}, and this is ${database}): give each a directory of its own`,
  );
}

/** Never made here: a directory that is not there may be a disk that is not mounted. */
async function requireDirectory(directory: string): Promise<void> {
  try {
    if (!(await stat(directory)).isDirectory()) throw new Error('it is not a directory');
    await access(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw refused(directory, error);
  }
}

interface Lines extends AsyncIterable<string> {
  /** What went wrong is not the archive's. */
  readonly failed: boolean;
}

function watched(lines: AsyncIterable<string>): Lines {
  const source = {
    failed: false,
    async *[Symbol.asyncIterator]() {
      try {
        yield* lines;
      } catch (error) {
        source.failed = true;
        throw error;
      }
    },
  };
  return source;
}

type Written = Pick<ArchivedDay, 'rows' | 'sha256'>;

async function write(
  path: string,
  { table, day, database }: StoredDay,
  lines: AsyncIterable<string>,
): Promise<Written> {
  // Events hold what the tables hold: for nobody else's eyes.
  const handle = await open(path, 'w', 0o600);
  try {
    const written = await writeLines(handle, lines);
    await handle.write(headerBytes({ table, day, database, ...written }), 0, headerLength, 0);
    await handle.sync();
    return written;
  } finally {
    await handle.close();
  }
}

/** Behind the place of the header. */
async function writeLines(handle: FileHandle, lines: AsyncIterable<string>): Promise<Written> {
  const hash = createHash('sha256');
  let rows = 0;
  async function* chunks(): AsyncGenerator<Buffer> {
    let begun: string[] = [];
    let chars = 0;
    const taken = () => {
      const chunk = Buffer.from(begun.join(''));
      hash.update(chunk);
      begun = [];
      chars = 0;
      return chunk;
    };
    for await (const line of lines) {
      rows += 1;
      begun.push(line, '\n');
      chars += line.length;
      if (chars >= chunkChars) yield taken();
    }
    yield taken();
  }
  const source = Readable.from(chunks(), { objectMode: false, highWaterMark: chunkChars });
  await pipeline(source, createGzip(), (compressed: AsyncIterable<Buffer>) => writeBehindHeader(handle, compressed));
  return { rows, sha256: hash.digest('hex') };
}

/** Not a stream of the handle: one that fails closes it, and what is open then under the same number may be another's. */
async function writeBehindHeader(handle: FileHandle, chunks: AsyncIterable<Buffer>): Promise<void> {
  let position = headerLength;
  for await (const chunk of chunks) {
    for (let written = 0; written < chunk.length; ) {
      const { bytesWritten } = await handle.write(chunk, written, chunk.length - written, position);
      written += bytesWritten;
      position += bytesWritten;
    }
  }
}

/** From the file, as whoever needs it will read it: a disk may take what it does not keep. */
async function readBack(path: string, { rows, sha256 }: Written): Promise<void> {
  const header = await readHeader(path);
  if (header.rows !== rows || header.sha256 !== sha256)
    throw new ArchiveError(`${path} did not keep what was written.`);
  for await (const _ of readDay(path));
}

/** The new name is in the directory, which is a file as well. */
async function flushDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function refused(directory: string, error: unknown): ArchiveError {
  const reason = error instanceof Error ? error.message : String(error);
  return new ArchiveError(`the archive ${directory} can't be written: ${reason}`, 1, { cause: error });
}
