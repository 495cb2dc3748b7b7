/** Looking up, making and opening a file by one call of its filesystem (fs/namei.c atomic_open). */

import { inode_operations as rows } from '../contract/inode.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen, orElse, withCleanup } from '../sched/awaitable.js';
import { Errno, errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { d_alloc_parallel, d_in_lookup, d_lookup_done, dget, dput, putAndThrow } from './dcache.js';
import type { Dentry } from './dentry.js';
import { File, FMODE_CREATED, FMODE_OPENED } from './file.js';
import { modeOf } from './file-table.js';
import type { Inode } from './inode.js';
import { dirOf, LOOKUP_CREATE, LOOKUP_EXCL, LOOKUP_OPEN, lookup_dcache, NAME_MAX } from './lookup.js';
import { vfs_prepare_mode } from './namei.js';
import { O_CREAT, O_EXCL, O_TRUNC } from './open-flags.js';
import { inode_permission, MAY_EXEC, MAY_WRITE } from './permission.js';
import { assert_sb_write_started } from './super-freeze.js';

const S_IFREG = 0o100000;
const ANY_PERMISSION = 0o7777;

/** What became of a name: a file that atomic_open has opened, or else a dentry to be opened. */
export interface Looked {
  readonly dentry: Dentry;
  readonly created: boolean;
  readonly file?: File;
}

/** Why the caller may not make anything in a directory, or undefined (may_o_create). */
function refusal(task: Task, dir: Inode, readOnly: Errno | undefined): Awaitable<Errno | undefined> {
  if (readOnly !== undefined) return readOnly;
  return orElse(permitted, refusedBy, task, dir);
}

function permitted(task: Task, dir: Inode): Awaitable<Errno | undefined> {
  return andThen(inode_permission(task, dir, MAY_WRITE | MAY_EXEC), () => undefined);
}

function refusedBy(error: unknown): Errno {
  if (error instanceof Errno) return error;
  throw error;
}

/**
 * One call of the filesystem looks up, makes and opens (atomic_open), with i_rwsem of the directory held exclusively because of O_CREAT. It calls finish_open where it
 * did, and otherwise names the dentry for us to open. Who may not make files may find one all the same: then it is called without O_CREAT.
 */
export function lookup_open_atomic(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
  readOnly: Errno | undefined,
): Awaitable<Looked> {
  const dir = dirOf(parent);
  if (name.length > NAME_MAX) throw errno('ENAMETOOLONG');
  const intent = LOOKUP_OPEN | LOOKUP_CREATE | ((flags & O_EXCL) !== 0 ? LOOKUP_EXCL : 0);
  return andThen(lookup_dcache(task, parent, name, intent), (cached) => {
    if (cached !== undefined && !cached.isNegative) return { dentry: cached, created: false };
    return andThen(refusal(task, dir, readOnly), (refused) =>
      andThen(cached === undefined ? d_alloc_parallel(task, parent, name) : { dentry: cached }, ({ dentry }) =>
        atomicOf(task, dir, dentry, flags, mode, refused),
      ),
    );
  });
}

/**
 * As lookup_open_atomic, without O_CREAT and with i_rwsem of the directory held shared: of a name that the dcache did not know a moment ago.
 * @throws ENOENT where there is nothing
 */
export function lookup_open_shared(task: Task, parent: Dentry, name: string, flags: number): Awaitable<Looked> {
  if (name.length > NAME_MAX) throw errno('ENAMETOOLONG');
  return andThen(d_alloc_parallel(task, parent, name), ({ dentry }) =>
    // Somebody else may have been faster.
    d_in_lookup(dentry) ? atomicOf(task, dirOf(parent), dentry, flags, 0, undefined) : { dentry, created: false },
  );
}

/** As lookup_open_atomic, of a dentry that is not known to be positive, whose reference it takes over. @param refused why nothing may be made */
function atomicOf(
  task: Task,
  dir: Inode,
  dentry: Dentry,
  flags: number,
  mode: number,
  refused: Errno | undefined,
): Awaitable<Looked> {
  // The file has a reference of its own to the dentry.
  const file = new File(dget(dentry), dir, flags & ~(O_CREAT | O_EXCL | O_TRUNC), modeOf(flags), task.cred);
  const called = orElse(
    () => callAtomic(task, dir, dentry, file, refused === undefined ? flags : flags & ~O_CREAT, mode),
    (error) => {
      const why = refused !== undefined && isErrno(error, 'ENOENT') ? refused : error;
      return andThen(dput(task, dentry), () => putAndThrow(task, dentry, why));
    },
  );
  return andThen(called, (found = dentry) => {
    const created = (file.f_mode & FMODE_CREATED) !== 0;
    if ((file.f_mode & FMODE_OPENED) !== 0) return { dentry, created, file };
    return andThen(dput(task, dentry), () =>
      andThen(found === dentry ? undefined : dput(task, dentry), () => ({ dentry: found, created })),
    );
  });
}

function callAtomic(
  task: Task,
  dir: Inode,
  dentry: Dentry,
  file: File,
  flags: number,
  mode: number,
): Awaitable<Dentry | undefined> {
  const { atomic_open } = dir.i_op;
  if ((flags & O_CREAT) !== 0) assert_sb_write_started(task, dir.i_sb);
  const bits = vfs_prepare_mode(task, dir, mode, ANY_PERMISSION, S_IFREG);
  return withCleanup(
    () =>
      call(
        task,
        rows.atomic_open,
        (flags & O_CREAT) !== 0 ? { 'dir/create': dir.i_rwsem } : { 'dir/open': dir.i_rwsem },
        () => atomic_open?.(task, dir, dentry, file, flags, bits),
      ),
    () => d_lookup_done(dentry),
  );
}
