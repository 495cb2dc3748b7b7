/** Renaming: names that are moved, exchanged, and replaced by whiteouts. Called with i_rwsem held as the contract says. */

import type { Dentry } from '../fs/dentry.js';
import { iput, unlock_new_inode } from '../fs/icache.js';
import { type Inode, inode_init, inode_links } from '../fs/inode.js';
import { posix_acl_create } from '../fs/posix-acl-ops.js';
import { inode_set_ctime_current } from '../fs/time.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { type Awaitable, andThen, orElse } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { RENAME_EXCHANGE, RENAME_WHITEOUT } from '../uapi/fs.js';
import { S_IFCHR } from '../uapi/stat.js';
import { acl_credits, init_acl } from './acl.js';
import { withOwners } from './charge.js';
import { write_before_replacing } from './da-alloc.js';
import { changed, checkEmpty, dec_count, dirty, dropped, dtype, isDir, mayBeIn, namesToChange } from './dir-change.js';
import { discard, newInode } from './dir-new.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';

/** A directory has moved from one parent to another: '..' and the link counts follow. */
function reparent(task: Task, inode: LatchInode, from: Inode, to: Inode): void {
  // A directory that stays with its parent is not locked: nothing of it changes.
  if (!isDir(inode) || from !== to) inode_links(task, inode);
  if (!isDir(inode) || from === to) return;
  guard_write(task, GUARDED.dotdot, inode.i_sb.s_vfs_rename_sem);
  inode.parent = to.i_ino;
  dec_count(task, from);
  inode_links(task, to).i_nlink++;
}

async function exchange(task: Task, oldDir: Inode, old: Dentry, newDir: Inode, target: Dentry): Promise<void> {
  const [a, b] = [old.d_inode, target.d_inode];
  if (a === undefined || b === undefined) throw errno('ENOENT');
  mayBeIn(newDir, a);
  mayBeIn(oldDir, b);
  const info = infoOf(oldDir.i_sb);
  await with_handle(task, info, async (handle) => {
    await namesToChange(task, oldDir).set(task, handle, old.d_name, b.i_ino, dtype(b));
    await namesToChange(task, newDir).set(task, handle, target.d_name, a.i_ino, dtype(a));
    reparent(task, latchInode(a), oldDir, newDir);
    reparent(task, latchInode(b), newDir, oldDir);
    for (const inode of [a, b]) {
      inode_set_ctime_current(inode);
      await changed(task, handle, inode);
    }
    await dirty(task, handle, oldDir);
    await dirty(task, handle, newDir);
  });
}

/** What a rename is about. */
interface Renamed {
  readonly from: LatchInode;
  readonly old: Dentry;
  readonly inode: Inode;
  readonly to: LatchInode;
  readonly target: Dentry;
  readonly victim: Inode | undefined;
}

/** ->rename (ext4_rename2): also exchanging, and leaving a whiteout. @throws ENOTEMPTY; EXDEV for another project; ENOSPC EDQUOT EIO */
export function rename(
  task: Task,
  oldDir: Inode,
  old: Dentry,
  newDir: Inode,
  target: Dentry,
  flags: number,
): Awaitable<void> {
  if ((flags & RENAME_EXCHANGE) !== 0) return exchange(task, oldDir, old, newDir, target);
  const { d_inode: inode } = old;
  const { d_inode: victim } = target;
  if (inode === undefined) throw errno('ENOENT');
  mayBeIn(newDir, inode);
  const what = { from: latchInode(oldDir), old, inode, to: latchInode(newDir), target, victim };
  const ready = victim === undefined ? undefined : mayReplace(task, inode, victim);
  return andThen(ready, (flags & RENAME_WHITEOUT) !== 0 ? whiteOut : move, task, what);
}

/** @throws ENOTEMPTY */
function mayReplace(task: Task, inode: Inode, victim: Inode): Awaitable<void> {
  return isDir(victim) ? checkEmpty(task, victim) : write_before_replacing(task, inode);
}

function move(_ready: void, task: Task, what: Renamed): Awaitable<void> {
  return with_handle(task, infoOf(what.from.i_sb), moveIn, CREDITS, what);
}

function moveIn(handle: Handle, task: Task, what: Renamed): Awaitable<void> {
  return andThen(andThen(enter(task, handle, what), leave, task, handle, what), settle, task, handle, what);
}

/** The old name stands for nothing. */
function leave(_entered: void, task: Task, handle: Handle, { from, old }: Renamed): Awaitable<void> {
  return namesToChange(task, from).remove(task, handle, old.d_name);
}

/** Rename, and leave a whiteout behind. */
async function whiteOut(_ready: void, task: Task, what: Renamed): Promise<void> {
  const { from, old } = what;
  const info = infoOf(from.i_sb);
  let whiteout: LatchInode | undefined;
  const lists = await posix_acl_create(task, from, S_IFCHR);
  const body = async (handle: Handle): Promise<LatchInode> => {
    const made = await newInode(task, handle, from, lists.mode, 0);
    whiteout = made;
    // It goes again if it gets no name.
    inode_init(made).i_nlink = 0;
    await info.orphans.add(task, handle, made);
    await init_acl(task, handle, made, lists);
    await enter(task, handle, what);
    await namesToChange(task, from).set(task, handle, old.d_name, made.i_ino, dtype(made));
    await info.orphans.del(task, handle, made);
    inode_init(made).i_nlink = 1;
    await changed(task, handle, made);
    await settle(undefined, task, handle, what);
    return made;
  };
  const made = await orElse(
    () => withOwners(task, from, () => with_handle(task, info, body, CREDITS + acl_credits(lists)), undefined),
    (error) => discard(task, whiteout, error),
  );
  unlock_new_inode(task, made);
  await iput(task, made);
}

/** The new name stands for the inode. */
function enter(task: Task, handle: Handle, { to, target, inode, victim }: Renamed): Awaitable<void> {
  return victim === undefined
    ? namesToChange(task, to).add(task, handle, target.d_name, inode.i_ino, dtype(inode))
    : namesToChange(task, to).set(task, handle, target.d_name, inode.i_ino, dtype(inode));
}

/** The names are right: links, '..' and times follow. */
function settle(_named: void, task: Task, handle: Handle, what: Renamed): Awaitable<void> {
  const settled = andThen(loseVictim(task, handle, what), settleMoved, task, handle, what);
  return andThen(andThen(settled, dirtyFrom, task, handle, what), dirtyTo, task, handle, what);
}

function loseVictim(task: Task, handle: Handle, { to, victim }: Renamed): Awaitable<void> {
  if (victim === undefined) return undefined;
  if (isDir(victim)) {
    inode_links(task, victim).i_nlink = 0;
    dec_count(task, to);
  } else dec_count(task, victim);
  return dropped(task, handle, victim);
}

function settleMoved(_lost: void, task: Task, handle: Handle, { from, to, inode }: Renamed): Awaitable<void> {
  reparent(task, latchInode(inode), from, to);
  inode_set_ctime_current(inode);
  return changed(task, handle, inode);
}

function dirtyFrom(_moved: void, task: Task, handle: Handle, { from }: Renamed): Awaitable<void> {
  return dirty(task, handle, from);
}

function dirtyTo(_dirty: void, task: Task, handle: Handle, { from, to }: Renamed): Awaitable<void> {
  return to === from ? undefined : dirty(task, handle, to);
}
