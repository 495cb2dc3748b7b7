/** Names: making, looking up, linking, removing and renaming them, on latch mounted in this process. */

import t, { type Test } from 'tap';
import { dput } from '../../src/fs/dcache.js';
import { shrink_dcache_sb } from '../../src/fs/dcache-shrink.js';
import type { Dentry } from '../../src/fs/dentry.js';
import { fput } from '../../src/fs/file-table.js';
import {
  I_MUTEX_CHILD,
  I_MUTEX_NONDIR2,
  I_MUTEX_NORMAL,
  I_MUTEX_PARENT,
  I_MUTEX_PARENT2,
  type inode_attrs,
} from '../../src/fs/inode.js';
import { open_or_create } from '../../src/fs/namei/open-last.js';
import {
  do_create,
  do_link,
  do_mkdir,
  do_mknod,
  do_rename,
  do_rmdir,
  do_symlink,
  do_unlink,
  lookup_one,
  vfs_readlink,
} from '../../src/fs/namei.js';
import { vfs_open, vfs_tmpfile_open } from '../../src/fs/open.js';
import { Held } from '../../src/locking/held.js';
import type { Awaitable } from '../../src/sched/awaitable.js';
import type { Task } from '../../src/sched/task.js';
import { O_EXCL, O_RDWR } from '../../src/uapi/fcntl.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from '../../src/uapi/fs.js';
import { inodeOf, newWorld, outcome, user, type World } from './world.js';

/** A mount for one test, without violations at its end. */
async function onWorld(t: Test, body: (world: World) => Promise<void>): Promise<void> {
  const world = await newWorld();
  await body(world);
  t.equal(await world.end(), 0, 'nothing is in use after the test');
  t.same(
    world.violations.map((violation) => violation.message),
    [],
    'no rule was broken',
  );
}

/** The locks that are taken while `body` runs, in order, as `name of/subclass`. */
async function locksTaken(
  task: Task,
  body: () => Awaitable<unknown>,
  name: (lock: object) => string | undefined,
): Promise<string[]> {
  const taken: string[] = [];
  const { held } = task;
  const push = held.push.bind(held);
  held.push = (...items) => {
    for (const item of items) {
      const of = item instanceof Held ? name(item.lock) : undefined;
      if (of !== undefined) taken.push(`${item.name} ${of}/${item.subclass}`);
    }
    return push(...items);
  };
  await body();
  held.push = push;
  return taken;
}

t.test('what has nothing to wait for is done at once', (t) =>
  onWorld(t, async ({ root, run }) => {
    await run(async (task) => {
      const now = <T>(value: Awaitable<T>, what: string): Awaitable<T> => {
        t.notOk(value instanceof Promise, what);
        return value;
      };
      const dir = await do_mkdir(task, root, 'd', 0o755);
      await dput(task, await do_create(task, dir, 'first', 0o644, true));
      await dput(task, await now(do_create(task, dir, 'a', 0o644, true), 'create'));
      await now(do_rename(task, dir, 'a', dir, 'b', 0), 'rename');
      await now(do_rename(task, dir, 'first', dir, 'b', 0), 'rename over a file');
      const { file, dentry } = await now(open_or_create(task, dir, 'c', 2, 0o644), 'open with O_CREAT');
      await fput(task, file);
      await dput(task, await now(do_link(task, dentry, dir, 'link'), 'link'));
      await now(do_unlink(task, dir, 'link'), 'unlink of one of two names');
      await dput(task, dentry);
      await now(do_unlink(task, dir, 'c'), 'unlink of the last name');
      await dput(task, await now(do_mkdir(task, dir, 'e', 0o755), 'mkdir'));
      await now(do_rmdir(task, dir, 'e'), 'rmdir');
      await dput(task, dir);
    });
  }),
);

t.test('a name that was made is found, and one that was removed is not', (t) =>
  onWorld(t, async ({ root, run }) => {
    await run(async (task) => {
      await dput(task, await do_create(task, root, 'a', 0o644, true));
      t.equal(await outcome(() => do_create(task, root, 'a', 0o644, true)), 'EEXIST');
      const found = await lookup_one(task, root, 'a');
      t.equal(inodeOf(found).i_mode, 0o100644);
      await dput(task, found);
      await do_unlink(task, root, 'a');
      const gone = await lookup_one(task, root, 'a');
      t.ok(gone.isNegative, 'a name that is gone is known to be gone');
      await dput(task, gone);
      t.equal(await outcome(() => do_unlink(task, root, 'a')), 'ENOENT');
      t.equal(await outcome(() => do_mkdir(task, root, 'x'.repeat(256), 0o755)), 'ENAMETOOLONG');
      t.equal(await outcome(() => do_symlink(task, root, 'l', '')), 'ENOENT');
      t.equal(await outcome(() => do_symlink(task, root, 'l', 'y'.repeat(4096))), 'ENAMETOOLONG');
      t.equal(await outcome(() => do_mknod(task, root, 'd', 0o040755, 0)), 'EPERM');
      t.equal(await outcome(() => do_mknod(task, root, 'd', 0o170000, 0)), 'EINVAL');
      const link = await do_symlink(task, root, 'l', 'some/where');
      t.equal(await vfs_readlink(task, link), 'some/where');
      await dput(task, link);
      await dput(task, await do_mkdir(task, root, 'dir', 0o755));
      t.equal(await outcome(() => do_unlink(task, root, 'dir')), 'EISDIR');
      t.equal(await outcome(() => do_rmdir(task, root, 'l')), 'ENOTDIR');
    });
  }),
);

t.test('the lookups of one name by many at once make one dentry', (t) =>
  onWorld(t, async ({ root, run }) => {
    await run(async (task) => dput(task, await do_create(task, root, 'a', 0o644, true)));
    await run(async (task) => {
      await shrink_dcache_sb(task, root.d_sb);
    });
    const found = await Promise.all(Array.from({ length: 8 }, () => run((task) => lookup_one(task, root, 'a'))));
    t.equal(new Set(found).size, 1);
    for (const dentry of found) await run((task) => dput(task, dentry));
  }),
);

t.test('rename: results of its flags', (t) =>
  onWorld(t, async ({ root, run }) => {
    await run(async (task) => {
      const make = async (name: string): Promise<number> => {
        const dentry = await do_create(task, root, name, 0o644, true);
        const { i_ino } = inodeOf(dentry);
        await dput(task, dentry);
        return i_ino;
      };
      const inoOf = async (name: string): Promise<number | undefined> => {
        const dentry = await lookup_one(task, root, name);
        const ino = dentry.d_inode?.i_ino;
        await dput(task, dentry);
        return ino;
      };
      const [a, b] = [await make('a'), await make('b')];
      t.equal(await outcome(() => do_rename(task, root, 'a', root, 'b', RENAME_NOREPLACE)), 'EEXIST');
      t.equal(await outcome(() => do_rename(task, root, 'a', root, 'c', RENAME_EXCHANGE)), 'ENOENT');
      t.equal(await outcome(() => do_rename(task, root, 'a', root, 'c', RENAME_EXCHANGE | RENAME_NOREPLACE)), 'EINVAL');
      t.equal(await outcome(() => do_rename(task, root, 'a', root, 'c', RENAME_EXCHANGE | RENAME_WHITEOUT)), 'EINVAL');
      t.equal(await outcome(() => do_rename(task, root, 'a', root, 'c', 8)), 'EINVAL');
      await do_rename(task, root, 'a', root, 'b', RENAME_EXCHANGE);
      t.same([await inoOf('a'), await inoOf('b')], [b, a]);
      await do_rename(task, root, 'a', root, 'b', 0);
      t.same([await inoOf('a'), await inoOf('b')], [undefined, b]);
      await do_rename(task, root, 'b', root, 'w', RENAME_WHITEOUT | RENAME_NOREPLACE);
      const whiteout = await lookup_one(task, root, 'b');
      t.same([inodeOf(whiteout).i_mode & 0o170000, inodeOf(whiteout).i_rdev], [0o020000, 0]);
      await dput(task, whiteout);
      await dput(task, await do_link(task, await lookup_one(task, root, 'w'), root, 'w2'));
      await do_rename(task, root, 'w', root, 'w2', 0);
      t.same([await inoOf('w'), await inoOf('w2')], [b, b], 'two names of one file stay');
      const w = await lookup_one(task, root, 'w');
      await dput(task, w);
      await dput(task, w);
    });
  }),
);

t.test('rename: directories', (t) =>
  onWorld(t, async ({ root, run }) => {
    await run(async (task) => {
      const d = await do_mkdir(task, root, 'd', 0o755);
      const e = await do_mkdir(task, d, 'e', 0o755);
      const f = await do_mkdir(task, root, 'f', 0o755);
      t.equal(await outcome(() => do_rename(task, root, 'd', e, 'x', 0)), 'EINVAL', 'below itself');
      t.equal(await outcome(() => do_rename(task, e, 'x', root, 'd', 0)), 'ENOENT');
      await dput(task, await do_mkdir(task, e, 'x', 0o755));
      t.equal(await outcome(() => do_rename(task, e, 'x', root, 'd', 0)), 'ENOTEMPTY', 'over its ancestor');
      t.equal(await outcome(() => do_rename(task, e, 'x', root, 'd', RENAME_EXCHANGE)), 'EINVAL');
      t.equal(await outcome(() => do_rename(task, root, 'f', root, 'd', 0)), 'ENOTEMPTY');
      await do_rename(task, root, 'd', root, 'f', RENAME_EXCHANGE);
      t.equal(d.d_name, 'f');
      t.equal(f.d_name, 'd');
      await do_rename(task, e, 'x', root, 'd', 0);
      t.same([inodeOf(root).i_nlink, inodeOf(e).i_nlink], [4, 2], 'link counts follow');
      await dput(task, await do_create(task, root, 'file', 0o644, true));
      t.equal(await outcome(() => do_rename(task, root, 'file', root, 'd', 0)), 'EISDIR');
      t.equal(await outcome(() => do_rename(task, root, 'd', root, 'file', 0)), 'ENOTDIR');
      for (const dentry of [e, d, f]) await dput(task, dentry);
    });
  }),
);

t.test('rename: the locks and their levels, as in the directory-locking document', (t) =>
  onWorld(t, async ({ root, sb, run }) => {
    await run(async (task) => {
      const dirs: Record<string, Dentry> = { root };
      const mkdir = async (name: string, parent: Dentry): Promise<Dentry> => {
        const dentry = await do_mkdir(task, parent, name, 0o755);
        dirs[name] = dentry;
        return dentry;
      };
      const p = await mkdir('p', root);
      const q = await mkdir('q', root);
      const below = await mkdir('below', p);
      const make = async (parent: Dentry, name: string): Promise<void> => {
        const dentry = await do_create(task, parent, name, 0o644, true);
        dirs[name] = dentry;
      };
      for (const name of ['f1', 'f2']) await make(p, name);
      await make(q, 'g1');
      await mkdir('d1', p);
      await mkdir('d2', q);
      const nameOf = (lock: object): string | undefined => {
        if (lock === sb.s_vfs_rename_sem) return 'sb';
        return Object.entries(dirs).find(([, dentry]) => dentry.d_inode?.i_rwsem === lock)?.[0];
      };
      const taken = (...args: [Dentry, string, Dentry, string, number]): Promise<string[]> =>
        locksTaken(task, () => do_rename(task, ...args), nameOf);
      const PARENT = `/${I_MUTEX_PARENT}`;
      const PARENT2 = `/${I_MUTEX_PARENT2}`;
      t.same(
        await taken(p, 'f1', p, 'f3', 0),
        [`i_rwsem p${PARENT}`, `i_rwsem f1/${I_MUTEX_NORMAL}`],
        'within a directory',
      );
      await do_rename(task, p, 'f3', p, 'f1', 0);
      t.same(
        await taken(p, 'f2', p, 'f1', RENAME_EXCHANGE),
        [`i_rwsem p${PARENT}`, `i_rwsem f1/${I_MUTEX_NORMAL}`, `i_rwsem f2/${I_MUTEX_NONDIR2}`],
        'two files by address',
      );
      await do_rename(task, p, 'f1', p, 'f2', RENAME_EXCHANGE);
      t.same(
        await taken(p, 'f1', q, 'g1', RENAME_EXCHANGE),
        [
          's_vfs_rename_sem sb/0',
          `i_rwsem p${PARENT}`,
          `i_rwsem q${PARENT2}`,
          `i_rwsem f1/${I_MUTEX_NORMAL}`,
          `i_rwsem g1/${I_MUTEX_NONDIR2}`,
        ],
        'between directories',
      );
      t.same(
        await taken(p, 'd1', q, 'd2', 0),
        [
          's_vfs_rename_sem sb/0',
          `i_rwsem p${PARENT}`,
          `i_rwsem q${PARENT2}`,
          `i_rwsem d1/${I_MUTEX_CHILD}`,
          `i_rwsem d2/${I_MUTEX_NORMAL}`,
        ],
        'a directory over another',
      );
      t.same(
        await taken(below, 'none', p, 'f2', 0).catch(() => []),
        [],
        'a name that is not there leaves nothing locked',
      );
      t.same(task.held, []);
      t.same(
        await taken(q, 'd2', below, 'd', 0),
        ['s_vfs_rename_sem sb/0', `i_rwsem q${PARENT}`, `i_rwsem below${PARENT2}`, `i_rwsem d1/${I_MUTEX_CHILD}`],
        'not related',
      );
      t.same(
        await taken(below, 'd', p, 'd', 0),
        ['s_vfs_rename_sem sb/0', `i_rwsem p${PARENT}`, `i_rwsem below${PARENT2}`, `i_rwsem d1/${I_MUTEX_CHILD}`],
        'the ancestor first',
      );
      t.same(
        await taken(p, 'd', p, 'below', RENAME_EXCHANGE),
        [`i_rwsem p${PARENT}`],
        'directories that are exchanged within their parent are not locked',
      );
      for (const [name, dentry] of Object.entries(dirs)) if (name !== 'root') await dput(task, dentry);
    });
  }),
);

t.test('sticky, append-only and immutable', (t) =>
  onWorld(t, async ({ root, run }) => {
    const { S_APPEND, S_IMMUTABLE, inode_attrs: settable } = await import('../../src/fs/inode.js');
    await run(async (task) => {
      const dir = await do_mkdir(task, root, 'tmp', 0o777);
      const attrs = async (dentry: Dentry, change: (attrs: ReturnType<typeof inode_attrs>) => void): Promise<void> => {
        const inode = inodeOf(dentry);
        using _held = await inode.i_rwsem.write(task);
        change(settable(task, inode));
      };
      await attrs(dir, (its) => {
        its.i_mode |= 0o1777;
      });
      const mine = (uid: number, name: string): Promise<void> =>
        run(async (task) => dput(task, await do_create(task, dir, name, 0o666, true)), user(uid));
      await mine(1000, 'a');
      await mine(1000, 'b');
      const as = (uid: number, body: (task: Task) => Awaitable<void>): Promise<string> =>
        outcome(() => run(body, user(uid)));
      t.equal(await as(1001, (task) => do_unlink(task, dir, 'a')), 'EPERM');
      t.equal(await as(1001, (task) => do_rename(task, dir, 'a', dir, 'c', 0)), 'EPERM');
      await mine(1001, 'own');
      t.equal(await as(1001, (task) => do_rename(task, dir, 'own', dir, 'a', 0)), 'EPERM', 'over a file of another');
      t.equal(await as(1000, (task) => do_unlink(task, dir, 'a')), 'ok');
      await attrs(dir, (its) => {
        its.i_flags |= S_APPEND;
      });
      t.equal(
        await as(1000, (task) => do_unlink(task, dir, 'b')),
        'EPERM',
        'nothing goes from an append-only directory',
      );
      t.equal(await outcome(() => mine(1000, 'd')), 'ok', 'but names come');
      await attrs(dir, (its) => {
        its.i_flags = S_IMMUTABLE;
      });
      t.equal(await outcome(() => mine(1000, 'e')), 'EPERM');
      await attrs(dir, (its) => {
        its.i_flags = 0;
      });
      const b = await lookup_one(task, dir, 'b');
      await attrs(b, (its) => {
        its.i_flags |= S_IMMUTABLE;
      });
      t.equal(await outcome(() => do_unlink(task, dir, 'b')), 'EPERM');
      t.equal(await outcome(() => do_link(task, b, root, 'b2')), 'EPERM');
      t.equal(await outcome(() => vfs_open(task, b, O_RDWR)), 'EPERM');
      await attrs(b, (its) => {
        its.i_flags = S_APPEND;
      });
      t.equal(await outcome(() => vfs_open(task, b, O_RDWR)), 'EPERM');
      t.equal(await outcome(async () => fput(task, await vfs_open(task, b, O_RDWR | 0o2000))), 'ok');
      await attrs(b, (its) => {
        its.i_flags = 0;
      });
      await dput(task, b);
      await dput(task, dir);
    });
  }),
);

t.test('links: limits, and files without a name', (t) =>
  onWorld(t, async ({ root, run, sb }) => {
    await run(async (task) => {
      const a = await do_create(task, root, 'a', 0o644, true);
      sb.s_max_links = 3;
      await dput(task, await do_link(task, a, root, 'a2'));
      await dput(task, await do_link(task, a, root, 'a3'));
      t.equal(await outcome(() => do_link(task, a, root, 'a4')), 'EMLINK');
      const d = await do_mkdir(task, root, 'd', 0o755);
      t.equal(
        await outcome(() => do_mkdir(task, root, 'e', 0o755)),
        'EMLINK',
        'a directory has a link of each below it',
      );
      await dput(task, await do_mkdir(task, d, 'sub', 0o755));
      t.equal(await outcome(() => do_rename(task, d, 'sub', root, 'sub', 0)), 'EMLINK');
      sb.s_max_links = 0;
      t.equal(await outcome(() => do_link(task, d, root, 'd2')), 'EPERM');
      await dput(task, d);
      const nameless = await vfs_tmpfile_open(task, root, O_RDWR, 0o600);
      t.equal(nameless.f_inode.i_nlink, 0);
      await dput(task, await do_link(task, nameless.f_dentry, root, 'named'));
      t.equal(nameless.f_inode.i_nlink, 1);
      await fput(task, nameless);
      const never = await vfs_tmpfile_open(task, root, O_RDWR | O_EXCL, 0o600);
      t.equal(await outcome(() => do_link(task, never.f_dentry, root, 'no')), 'ENOENT');
      await fput(task, never);
      const file = await vfs_open(task, a, O_RDWR);
      for (const name of ['a', 'a2', 'a3']) await do_unlink(task, root, name);
      t.equal(file.f_inode.i_nlink, 0, 'an open file outlives its names');
      t.equal(await outcome(() => do_link(task, file.f_dentry, root, 'again')), 'ENOENT');
      await fput(task, file);
      await dput(task, a);
    });
  }),
);

t.test('open with O_CREAT', (t) =>
  onWorld(t, async ({ root, run }) => {
    await run(async (task) => {
      task.umask = 0o027;
      const { file, dentry, created } = await open_or_create(task, root, 'n', O_RDWR, 0o666);
      t.same([created, inodeOf(dentry).i_mode & 0o777], [true, 0o640], 'the umask applies');
      await fput(task, file);
      await dput(task, dentry);
      t.equal(await outcome(() => open_or_create(task, root, 'n', O_RDWR | O_EXCL, 0o666)), 'EEXIST');
      const again = await open_or_create(task, root, 'n', O_RDWR, 0o666);
      t.notOk(again.created);
      await fput(task, again.file);
      await dput(task, again.dentry);
      await dput(task, await do_mkdir(task, root, 'dir', 0o755));
      t.equal(await outcome(() => open_or_create(task, root, 'dir', 0, 0o666)), 'EISDIR');
    });
    const made = await run((task) => open_or_create(task, root, 'x', 0, 0o644), user(0));
    t.ok(made.created);
    await run(async (task) => {
      await fput(task, made.file);
      await dput(task, made.dentry);
    });
    t.equal(await outcome(() => run((task) => open_or_create(task, root, 'y', 0, 0o644), user(1000))), 'EACCES');
  }),
);
