import { execFile } from 'node:child_process';
import { mkdtemp, open, rm, rmdir, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A file system of its own, small enough to be filled: a tmpfs, which only root may mount. */
export interface SmallDisk {
  readonly path: string;
  /** Leaves so many bytes free, whatever is there already. */
  fill(leaveBytes: number): Promise<void>;
  /** Takes away what `fill` put there. Idempotent. */
  free(): Promise<void>;
  /** Everything on it is gone. Idempotent. */
  unmount(): Promise<void>;
}

/** Why there can be none on this machine; null when there can. */
export async function whyNoSmallDisk(): Promise<string | null> {
  if (process.getuid?.() !== 0) return 'a small file system can be mounted by root only';
  const path = await mkdtemp(join(tmpdir(), 'pg-observers-disk-'));
  try {
    const disk = await mountSmallDisk(path, 1);
    await disk.unmount();
    return null;
  } catch (error) {
    return `mounting is not permitted here: ${(error as Error).message.trim().split('\n').at(-1)}`;
  } finally {
    await rmdir(path).catch(() => undefined);
  }
}

/** Mounts it at an existing, empty directory. @throws Error when mounting is not permitted */
export async function mountSmallDisk(path: string, megabytes: number): Promise<SmallDisk> {
  await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0755`, 'pg-observers-chaos', path]);
  const ballast = join(path, 'ballast');
  let mounted = true;
  return {
    path,
    fill: async (leaveBytes) => {
      const file = await open(ballast, 'a');
      try {
        const block = Buffer.alloc(64 * 1024);
        for (;;) {
          const { bavail, bsize } = await statfs(path);
          const excess = Number(bavail) * Number(bsize) - leaveBytes;
          if (excess <= 0) return;
          await file.write(block, 0, Math.min(block.length, excess));
        }
      } catch (error) {
        // The server wrote the last bytes before us: as full as can be.
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      } finally {
        await file.close();
      }
    },
    free: () => rm(ballast, { force: true }),
    unmount: async () => {
      if (!mounted) return;
      mounted = false;
      await run('umount', [path]);
    },
  };
}
