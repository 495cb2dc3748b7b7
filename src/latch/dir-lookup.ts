/** Looking into directories: one name, and all of them. Called with i_rwsem held as the contract says. */

import { IS_CASEFOLDED } from '../fs/casefold.js';
import { d_add, d_splice_alias } from '../fs/dcache-alias.js';
import type { Dentry } from '../fs/dentry.js';
import type { File } from '../fs/file.js';
import type { Inode } from '../fs/inode.js';
import type { DirContext } from '../fs/types.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { type Awaitable, andThen, orElse } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { DT_DIR } from '../uapi/dirent.js';
import { adoptCasefold } from './casefold.js';
import type { Entry } from './dir.js';
import { namesToRead } from './dir-change.js';
import { infoOf, type LatchInfo } from './info.js';
import { latch_iget, latchInode } from './inode.js';

/** A name stands for an inode that is none: that is damage. */
function stale(error: unknown, _task: Task, _info: LatchInfo, ino: number): never {
  throw isErrno(error, 'ESTALE') ? errno('EIO', `a name stands for inode ${ino}, which is deleted`) : error;
}

/** ->lookup. @throws EIO */
export function lookup(task: Task, dir: Inode, dentry: Dentry): Awaitable<Dentry | undefined> {
  return andThen(namesToRead(task, dir).lookup(task, dentry.d_name), getAndAdd, task, dir, dentry);
}

function getAndAdd(entry: Entry | undefined, task: Task, dir: Inode, dentry: Dentry): Awaitable<Dentry | undefined> {
  if (entry === undefined) {
    // Where a name can be written in many ways it is not kept that there is none.
    if (!IS_CASEFOLDED(dir)) d_add(task, dentry, undefined);
    return undefined;
  }
  const got = orElse(latch_iget, stale, task, infoOf(dir.i_sb), entry.ino);
  return andThen(got, splice, task, dentry);
}

function splice(inode: Inode, task: Task, dentry: Dentry): Awaitable<Dentry | undefined> {
  adoptCasefold(dentry, inode);
  return d_splice_alias(task, inode, dentry);
}

/** ->iterate_shared. Positions: 0 '.', 1 '..', and the key of an entry plus 2. */
export async function iterate_shared(task: Task, file: File, ctx: DirContext): Promise<void> {
  const dir = latchInode(file.f_inode);
  guard_write(task, GUARDED.f_pos, file.f_pos_lock);
  if (ctx.pos === 0) {
    if (!ctx.actor('.', dir.i_ino, DT_DIR, 1)) return;
    ctx.pos = 1;
  }
  if (ctx.pos === 1) {
    if (!ctx.actor('..', dir.parent, DT_DIR, 2)) return;
    ctx.pos = 2;
  }
  await namesToRead(task, dir).list(task, ctx.pos - 2, (name, ino, type, key) => {
    if (!ctx.actor(name, ino, type, key + 3)) return false;
    ctx.pos = key + 3;
    return true;
  });
  guard_write(task, GUARDED.f_pos, file.f_pos_lock);
}
