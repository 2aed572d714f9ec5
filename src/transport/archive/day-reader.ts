import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { createGunzip, gunzipSync } from 'node:zlib';
import type { LogTable } from '../../domain/retention.ts';
import { ArchiveError } from '../contract.ts';
import { type DayHeader, headerLength, parseDayFileName, parseHeader } from './day-file.ts';

export interface ArchiveFile {
  /** Path. */
  readonly file: string;
  readonly table: LogTable;
  readonly day: string;
  /** On disk. */
  readonly bytes: number;
}

/** The oldest day first. Files that are not ours, or not finished, are left out. @throws ArchiveError */
export async function listArchive(directory: string): Promise<ArchiveFile[]> {
  const names = await readdir(directory).catch((error: Error) => {
    throw new ArchiveError(`The archive ${directory} can't be read: ${error.message}.`, 1, { cause: error });
  });
  const found = names.sort().flatMap((name) => {
    const day = parseDayFileName(name);
    return day === null ? [] : [{ file: join(directory, name), ...day }];
  });
  const files = await Promise.all(found.map(async (one) => ({ ...one, bytes: (await stat(one.file)).size })));
  return files.sort((a, b) => (`${a.day} ${a.table}` < `${b.day} ${b.table}` ? -1 : 1));
}

/** What the file says of itself; reads no further. @throws ArchiveError when it says nothing */
export async function readHeader(file: string): Promise<DayHeader> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(headerLength), 0, headerLength, 0);
    return requireHeader(file, gunzipSync(buffer.subarray(0, bytesRead)).toString());
  } catch (error) {
    throw damaged(file, error);
  } finally {
    await handle.close();
  }
}

/**
 * The lines of a file, in the order in which they were written, in constant memory. Whoever reads to the end knows that
 * nothing is missing or changed.
 * @throws ArchiveError when the file is cut off, changed, or can't be read
 */
export async function* readDay(file: string): AsyncGenerator<string> {
  let header: DayHeader | null = null;
  let rows = 0;
  const hash = createHash('sha256');
  try {
    for await (const line of linesOf(unzipped(file))) {
      if (header === null) {
        header = requireHeader(file, line.toString());
        continue;
      }
      rows += 1;
      hash.update(line).update('\n');
      yield line.toString();
    }
  } catch (error) {
    throw damaged(file, error);
  }
  if (header === null) throw new ArchiveError(`${file} is damaged: it is empty.`);
  if (rows !== header.rows) throw new ArchiveError(`${file} is damaged: it has ${rows} rows, and says ${header.rows}.`);
  if (hash.digest('hex') !== header.sha256) throw new ArchiveError(`${file} is damaged: its checksum differs.`);
}

/** An error of either stream ends both, and whoever stops reading closes the file. */
function unzipped(file: string): AsyncIterable<Buffer> {
  return pipeline(createReadStream(file), createGunzip(), () => {});
}

const lineFeed = 0x0a;

/** Not `readline`: it also breaks lines at U+2028, which JSON may contain. */
async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let begun: Buffer[] = [];
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, from)) {
      const last = chunk.subarray(from, end);
      yield begun.length === 0 ? last : Buffer.concat([...begun, last]);
      begun = [];
      from = end + 1;
    }
    if (from < chunk.length) begun.push(chunk.subarray(from));
  }
  if (begun.length > 0) throw new Error('it ends in the middle of a line');
}

function requireHeader(file: string, line: string): DayHeader {
  const header = parseHeader(line);
  if (header === null)
    throw new ArchiveError(`${file} does not begin as a file of an archive that this version can read.`);
  return header;
}

function damaged(file: string, error: unknown): ArchiveError {
  if (error instanceof ArchiveError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new ArchiveError(`${file} is damaged, or can't be read: ${reason}.`, 1, { cause: error });
}
