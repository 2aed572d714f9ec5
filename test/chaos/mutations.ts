/**
 * Bugs, planted into a copy of the built program: a checker that has never seen one proves nothing. The source has no
 * switch for them.
 */

import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Mutation {
  readonly name: string;
  readonly bug: string;
  readonly patches: readonly Patch[];
}

interface Patch {
  /** Below dist/. */
  readonly file: string;
  /** Occurs once. */
  readonly find: string | RegExp;
  readonly replace: string;
}

const session = 'transport/postgres/routing-session.js';
const routingSql = 'transport/postgres/routing-sql.js';
const claims = 'transport/postgres/claim-sql.js';
const settlement = 'transport/postgres/settlement.js';

export const checkpointFirst: Mutation = {
  name: 'checkpoint-first',
  bug: 'the checkpoint advances in a transaction of its own, before the deliveries are inserted',
  patches: [
    {
      file: session,
      find: /const written = this\.#query\(name, text, \[\s*this\.#checkpoint\.version,/,
      replace: `await this.#query('early', \`update observers.checkpoints
          set snapshot = $2::pg_snapshot, target = $3::pg_snapshot, after_id = $4::bigint, version = version + 1
          where consumer = 'router' and version = $1::bigint\`,
          [this.#checkpoint.version, next.snapshot, next.target, next.afterId]);
        await new Promise((resolve) => setTimeout(resolve, 200));
        const early = next.version;
        next.version = String(BigInt(early) + 1n);
        const written = this.#query(name, text, [
            early,`,
    },
  ],
};

export const idGreaterThanLast: Mutation = {
  name: 'id-greater-than-last',
  bug: 'the log is read by `id > last`, as if ids were handed out in the order of commits',
  patches: [
    {
      file: routingSql,
      find: /select id, xid, created_at from observers\.events\s+where xid >= [\s\S]*?x, \(select snapshot from target\)\)\)\)\n/,
      replace:
        'select id, xid, created_at from observers.events where id > $3::bigint and $1::pg_snapshot is not null\n',
    },
    {
      file: routingSql,
      find: 'coalesce($2::pg_snapshot, pg_current_snapshot())',
      replace: 'case when $2::pg_snapshot is null then pg_current_snapshot() else pg_current_snapshot() end',
    },
    {
      file: 'transport/postgres/delta.js',
      find: 'return this.#taken === this.#found.ids.length && !this.#found.more;',
      replace: 'return false;',
    },
    {
      file: session,
      find: "this.#checkpoint = { snapshot: reached, target: null, afterId: '0', version };",
      replace: 'this.#checkpoint = { snapshot: reached, target: null, afterId: this.#checkpoint.afterId, version };',
    },
  ],
};

export const noFence: Mutation = {
  name: 'no-fence',
  bug: 'an outcome counts whoever holds the claim by now: settling does not name the lease',
  patches: [{ file: settlement, find: 'on d.id = i.id and d.lease = i.lease', replace: 'on d.id = i.id' }],
};

export const claimWithoutLock: Mutation = {
  name: 'claim-without-lock',
  bug: 'two instances may claim one delivery: the claim neither locks nor skips what is locked',
  // One for each way in which the statements of claims look for what is due.
  patches: [
    { file: claims, find: /limit w\.slots\s+for update skip locked/, replace: 'limit w.slots' },
    {
      file: claims,
      find: /(?<=and d\.tenant = t\.tenant and [^\n]*\s+order by d\.due_at, d\.id limit t\.share)\s+for update skip locked/,
      replace: '',
    },
    {
      file: claims,
      find: /(?<=where t\.tenant is null and [^\n]*\s+order by d\.due_at, d\.id limit t\.share)\s+for update skip locked/,
      replace: '',
    },
  ],
};

/**
 * A copy of dist/ with the bug in it.
 * @returns the program to run, and how to remove it
 * @throws Error when a patch does not apply: the source has changed, and the mutation must follow
 */
export async function plant(mutation: Mutation): Promise<{ program: string; remove(): Promise<void> }> {
  const repository = new URL('../../', import.meta.url).pathname;
  const place = join(tmpdir(), `pg-observers-mutant-${mutation.name}-${process.pid}`);
  await rm(place, { recursive: true, force: true });
  await mkdir(place);
  await cp(join(repository, 'dist'), join(place, 'dist'), { recursive: true });
  for (const needed of ['node_modules', 'migrations', 'package.json']) {
    await symlink(join(repository, needed), join(place, needed));
  }
  for (const patch of mutation.patches) await applyPatch(join(place, 'dist', patch.file), patch, mutation.name);
  const remove = () => rm(place, { recursive: true, force: true });
  return { program: join(place, 'dist/cli/main.js'), remove };
}

async function applyPatch(path: string, { file, find, replace }: Patch, mutation: string): Promise<void> {
  const before = await readFile(path, 'utf8');
  const parts = before.split(find);
  if (parts.length !== 2) {
    throw new Error(`mutation ${mutation}: ${find} occurs ${parts.length - 1} times in dist/${file}, not once`);
  }
  await writeFile(path, parts.join(replace));
}
