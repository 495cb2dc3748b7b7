/** Making, linking and removing names (fs/namei.c). Looking them up is in lookup.ts, rename in namei-rename.ts, walking paths in path-walk.ts. */

import { inode_operations as rows } from '../contract/inode.js';
import { call, invoke, take } from '../locking/context.js';
import type { Exclusive } from '../locking/held.js';
import { type Awaitable, andThen, inTurn, orElse, withCleanup } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { d_delete, d_rehash, dput, putAndThrow, shrink_dcache_parent } from './dcache.js';
import type { Dentry } from './dentry.js';
import { ihold, iput } from './icache.js';
import {
  I_LINKABLE,
  I_MUTEX_NORMAL,
  I_MUTEX_PARENT,
  type Inode,
  inode_set_dead,
  inode_state_change,
  isDir,
  S_APPEND,
  S_IMMUTABLE,
  S_SWAPFILE,
} from './inode.js';
import { mode_strip_sgid } from './inode-owner.js';
import { dirOf, LOOKUP_CREATE, LOOKUP_EXCL, lookup_locked, PATH_MAX } from './lookup.js';
import { may_create, may_delete } from './permission.js';
import { SB_POSIXACL } from './super-block.js';
import { assert_sb_write_started, mnt_want_write, mnt_want_write_or_refusal, sb_end_write } from './super-freeze.js';
import { touch_atime } from './time.js';

export { dirOf, lookup_locked, lookup_one, NAME_MAX, PATH_MAX } from './lookup.js';
export { do_rename, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from './namei-rename.js';

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;
const S_IFSOCK = 0o140000;
const S_IALLUGO = 0o7777;

/**
 * The mode with which a filesystem is asked to make a file (vfs_prepare_mode): without setgid where the caller may not give it, and without
 * the bits of the umask, unless the filesystem has access control lists and applies it itself (posix_acl_create).
 * @param perms the permission bits that may be asked for
 * @param type S_IF*
 */
export function vfs_prepare_mode(task: Task, dir: Inode, mode: number, perms: number, type: number): number {
  const stripped = mode_strip_sgid(task, dir, (mode & S_IALLUGO) | type);
  const umask = (dir.i_sb.s_flags & SB_POSIXACL) === 0 ? task.umask : 0;
  return type | (stripped & perms & ~umask);
}

/** What a directory or a file may have of links, or EMLINK. */
function checkLinks(inode: Inode): void {
  const { s_max_links: max } = inode.i_sb;
  if (max > 0 && inode.i_nlink >= max) throw errno('EMLINK');
}

type CreatingRow = typeof rows.create | typeof rows.mkdir | typeof rows.mknod | typeof rows.symlink | typeof rows.link;

/**
 * Make a name in `parent` with `make`, under the lock that the operation's row wants (filename_create, done_path_create).
 * @returns the dentry, with a reference
 */
function creating(
  task: Task,
  row: CreatingRow,
  parent: Dentry,
  name: string,
  make: (dir: Inode, dentry: Dentry) => Awaitable<void>,
): Awaitable<Dentry> {
  const dir = dirOf(parent);
  const makeIn = (dentry: Dentry, refused: Errno | undefined): Awaitable<Dentry> => {
    if (!dentry.isNegative) throw errno('EEXIST');
    if (refused !== undefined) throw refused;
    return andThen(may_create(task, dir, dentry), () =>
      andThen(make(dir, dentry), () => {
        d_rehash(task, dentry);
        return dentry;
      }),
    );
  };
  return andThen(mnt_want_write_or_refusal(task, dir.i_sb), ({ writing, refused }) => {
    let held: Exclusive<'i_rwsem'> | undefined;
    return withCleanup(
      () =>
        andThen(take(task, row, 'dir', dir.i_rwsem, I_MUTEX_PARENT), (guard) => {
          held = guard;
          return andThen(lookup_locked(task, parent, name, LOOKUP_CREATE | LOOKUP_EXCL), (dentry) =>
            orElse(
              () => makeIn(dentry, refused),
              (error) => putAndThrow(task, dentry, error),
            ),
          );
        }),
      () => {
        held?.release();
        sb_end_write(writing);
      },
    );
  });
}

/** Make a regular file (mknod(2) of one). @throws EEXIST EACCES ENOSPC EPERM EROFS ENAMETOOLONG */
export function do_create(task: Task, parent: Dentry, name: string, mode: number, excl: boolean): Awaitable<Dentry> {
  return creating(task, rows.create, parent, name, (dir, dentry) => vfs_create(task, dir, dentry, mode, excl));
}

/** With i_rwsem of `dir` held exclusively (vfs_create). @param mode permission bits, not yet cut by the umask */
export function vfs_create(task: Task, dir: Inode, dentry: Dentry, mode: number, excl: boolean): Awaitable<void> {
  const { create } = dir.i_op;
  if (create === undefined) throw errno('EACCES');
  assert_sb_write_started(task, dir.i_sb);
  const bits = vfs_prepare_mode(task, dir, mode, S_IALLUGO, S_IFREG);
  return invoke(task, rows.create, { dir: dir.i_rwsem }, create, dir, dentry, bits, excl);
}

/** mkdir(2). @throws EEXIST EACCES EMLINK ENOSPC EPERM EROFS ENAMETOOLONG */
export function do_mkdir(task: Task, parent: Dentry, name: string, mode: number): Awaitable<Dentry> {
  return creating(task, rows.mkdir, parent, name, (dir, dentry) => {
    const { mkdir } = dir.i_op;
    if (mkdir === undefined) throw errno('EPERM');
    const bits = vfs_prepare_mode(task, dir, mode, 0o1777, S_IFDIR);
    checkLinks(dir);
    return invoke(task, rows.mkdir, { dir: dir.i_rwsem }, mkdir, dir, dentry, bits);
  });
}

/**
 * mknod(2). @param rdev as the kernel's new_encode_dev; a character device 0 is a whiteout, which anybody may make
 * @throws EINVAL for a type that does not exist; EPERM for a directory, or a device without CAP_MKNOD; and as do_create
 */
export function do_mknod(task: Task, parent: Dentry, name: string, mode: number, rdev: number): Awaitable<Dentry> {
  const type = mode & S_IFMT;
  if (type === S_IFREG || type === 0) return do_create(task, parent, name, mode, true);
  if (type === S_IFDIR) throw errno('EPERM');
  const device = type === S_IFCHR || type === S_IFBLK;
  if (!device && type !== S_IFIFO && type !== S_IFSOCK) throw errno('EINVAL');
  return creating(task, rows.mknod, parent, name, (dir, dentry) => {
    const whiteout = type === S_IFCHR && rdev === 0;
    if (device && !whiteout && !task.cred.capable('CAP_MKNOD')) throw errno('EPERM');
    const { mknod } = dir.i_op;
    if (mknod === undefined) throw errno('EPERM');
    const bits = vfs_prepare_mode(task, dir, mode, S_IALLUGO, type);
    return call(task, rows.mknod, { dir: dir.i_rwsem }, () => mknod(task, dir, dentry, bits, device ? rdev : 0));
  });
}

/** symlink(2). @throws ENOENT for an empty target; ENAMETOOLONG beyond PATH_MAX; and as do_create */
export function do_symlink(task: Task, parent: Dentry, name: string, target: string): Awaitable<Dentry> {
  if (target === '') throw errno('ENOENT');
  if (target.length >= PATH_MAX) throw errno('ENAMETOOLONG');
  return creating(task, rows.symlink, parent, name, (dir, dentry) => {
    const { symlink } = dir.i_op;
    if (symlink === undefined) throw errno('EPERM');
    return call(task, rows.symlink, { dir: dir.i_rwsem }, () => symlink(task, dir, dentry, target));
  });
}

/**
 * A second name for `old` (vfs_link); the first for a file of O_TMPFILE without O_EXCL.
 * @throws EPERM for a directory, an immutable or append-only file; ENOENT for one that has no name left; EMLINK EXDEV; and as do_create
 */
export function do_link(task: Task, old: Dentry, parent: Dentry, name: string): Awaitable<Dentry> {
  const inode = old.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return creating(task, rows.link, parent, name, (dir, dentry) => {
    const { link } = dir.i_op;
    if (inode.i_sb !== dir.i_sb) throw errno('EXDEV');
    if ((inode.i_flags & (S_APPEND | S_IMMUTABLE)) !== 0 || link === undefined || isDir(inode)) throw errno('EPERM');
    return andThen(take(task, rows.link, 'inode', inode.i_rwsem, I_MUTEX_NORMAL), (held) =>
      withCleanup(
        () => {
          if (inode.i_nlink === 0 && (inode.i_state & I_LINKABLE) === 0) throw errno('ENOENT');
          checkLinks(inode);
          const locks = { dir: dir.i_rwsem, inode: inode.i_rwsem };
          return andThen(
            call(task, rows.link, locks, () => link(task, old, dir, dentry)),
            () => {
              if ((inode.i_state & I_LINKABLE) !== 0) inode_state_change(task, inode, 0, I_LINKABLE);
            },
          );
        },
        () => held.release(),
      ),
    );
  });
}

/** Remove a name that is not a directory's (do_unlinkat). What had it is freed when the directory is unlocked. @throws ENOENT EISDIR EACCES EPERM EROFS */
export function do_unlink(task: Task, parent: Dentry, name: string): Awaitable<void> {
  return removing(task, rows.unlink, parent, name, (dir, dentry) => vfs_unlink(task, dir, dentry));
}

/** Remove an empty directory (do_rmdir). @throws ENOENT ENOTDIR ENOTEMPTY EBUSY EACCES EPERM EROFS */
export function do_rmdir(task: Task, parent: Dentry, name: string): Awaitable<void> {
  return removing(task, rows.rmdir, parent, name, (dir, dentry) => vfs_rmdir(task, dir, dentry));
}

function removing(
  task: Task,
  row: typeof rows.unlink | typeof rows.rmdir,
  parent: Dentry,
  name: string,
  remove: (dir: Inode, dentry: Dentry) => Awaitable<void>,
): Awaitable<void> {
  const dir = dirOf(parent);
  return andThen(mnt_want_write(task, dir.i_sb), (writing) => {
    let held: Exclusive<'i_rwsem'> | undefined;
    let dentry: Dentry | undefined;
    let victim: Inode | undefined;
    const removeIn = (found: Dentry): Awaitable<void> => {
      dentry = found;
      victim = found.d_inode;
      if (victim !== undefined) ihold(victim);
      return remove(dir, found);
    };
    // The last reference may free a large file, which nobody who wants the directory has to wait for.
    const letGo = (): Awaitable<void> =>
      andThen(dentry === undefined ? undefined : dput(task, dentry), () =>
        victim === undefined ? undefined : iput(task, victim),
      );
    return withCleanup(
      () =>
        andThen(take(task, row, 'dir', dir.i_rwsem, I_MUTEX_PARENT), (guard) => {
          held = guard;
          return andThen(lookup_locked(task, parent, name), removeIn);
        }),
      () => {
        held?.release();
        return withCleanup(letGo, () => sb_end_write(writing));
      },
    );
  });
}

/** With i_rwsem of `dir` held exclusively; takes the victim's (vfs_unlink). */
export function vfs_unlink(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  return andThen(may_delete(task, dir, dentry, false), () => {
    const { unlink } = dir.i_op;
    const victim = dentry.d_inode;
    if (unlink === undefined || victim === undefined) throw errno('EPERM');
    const unlinked = andThen(take(task, rows.unlink, 'victim', victim.i_rwsem, I_MUTEX_NORMAL), (held) =>
      withCleanup(
        () => {
          if ((victim.i_flags & S_SWAPFILE) !== 0) throw errno('EPERM');
          const locks = { dir: dir.i_rwsem, victim: victim.i_rwsem };
          return invoke(task, rows.unlink, locks, unlink, dir, dentry);
        },
        () => held.release(),
      ),
    );
    return andThen(unlinked, () => d_delete(task, dentry));
  });
}

/** With i_rwsem of `dir` held exclusively; takes the victim's (vfs_rmdir). */
export function vfs_rmdir(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  return andThen(may_delete(task, dir, dentry, true), () => {
    const { rmdir } = dir.i_op;
    const victim = dentry.d_inode;
    if (rmdir === undefined || victim === undefined) throw errno('EPERM');
    const removed = andThen(take(task, rows.rmdir, 'victim', victim.i_rwsem, I_MUTEX_NORMAL), (held) =>
      withCleanup(
        () =>
          inTurn(
            () => invoke(task, rows.rmdir, { dir: dir.i_rwsem, victim: victim.i_rwsem }, rmdir, dir, dentry),
            () => shrink_dcache_parent(task, dentry),
            () => inode_set_dead(task, victim),
          ),
        () => held.release(),
      ),
    );
    return andThen(removed, () => d_delete(task, dentry));
  });
}

/** The target of a symlink (vfs_readlink). Moves atime. @throws EINVAL for anything else */
export function vfs_readlink(task: Task, dentry: Dentry): Awaitable<string> {
  const inode = dentry.d_inode;
  const { readlink, get_link } = inode?.i_op ?? {};
  if (inode === undefined || (readlink === undefined && get_link === undefined)) throw errno('EINVAL');
  return andThen(touch_atime(task, inode), () => {
    if (readlink !== undefined) {
      return call(task, rows.readlink, { inode: inode.i_rwsem }, () => readlink(task, dentry));
    }
    return andThen(vfs_get_link(task, dentry, inode), (target) => {
      if (typeof target === 'string') return target;
      return andThen(dput(task, target), () => {
        throw errno('EINVAL');
      });
    });
  });
}

/** As vfs_get_link, in an RCU walk. @throws ECHILD where it is not known without a wait */
export function vfs_get_link_rcu(task: Task, inode: Inode): string {
  const { get_link } = inode.i_op;
  if (get_link === undefined) throw errno('ECHILD');
  const participants = { inode: inode.i_rwsem, walk: inode.i_sb.rcu };
  const target = call(task, rows.get_link, participants, () => get_link(task, undefined, inode));
  // A magic link gives out a reference: not here.
  if (typeof target !== 'string') throw errno('ECHILD');
  return target;
}

/** The target of a symlink, as a path walk or readlink asks for it, or where a magic one leads, with a reference (vfs_get_link). @throws EINVAL */
export function vfs_get_link(task: Task, dentry: Dentry, inode: Inode): Awaitable<string | Dentry> {
  const { get_link } = inode.i_op;
  if (get_link === undefined) throw errno('EINVAL');
  return call(task, rows.get_link, { inode: inode.i_rwsem }, () => get_link(task, dentry, inode));
}
