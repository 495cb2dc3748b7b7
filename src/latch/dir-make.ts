/** Making names of what is new: files, directories, symlinks, and files that have no name yet. Called with i_rwsem held as the contract says. */

import { d_rehash } from '../fs/dcache.js';
import { d_instantiate } from '../fs/dcache-alias.js';
import { d_in_lookup } from '../fs/dcache-parallel.js';
import type { Dentry } from '../fs/dentry.js';
import { type File, FMODE_CREATED } from '../fs/file.js';
import { unlock_new_inode } from '../fs/icache.js';
import { type Inode, i_size_init, inode_init, inode_links } from '../fs/inode.js';
import { finish_open } from '../fs/open.js';
import { type CreatedAcls, posix_acl_create } from '../fs/posix-acl-ops.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { type Awaitable, andThen, instead, nothing, orElse } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { O_CREAT } from '../uapi/fcntl.js';
import { S_IALLUGO, S_IFDIR, S_IFLNK, S_IFREG, S_ISGID } from '../uapi/stat.js';
import { acl_credits, init_acl } from './acl.js';
import { withOwners } from './charge.js';
import { changed, dirty, dtype, isDir, namesToChange } from './dir-change.js';
import { lookup } from './dir-lookup.js';
import { discard, nameless, newInode } from './dir-new.js';
import { AREA_SIZE } from './format/inode.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { writeLongLink } from './link-ops.js';

/** An inode that is being made, and its name. */
interface Making {
  readonly dir: LatchInode;
  readonly dentry: Dentry;
  readonly rdev: number;
  /** What is particular to its type. */
  readonly fill: Fill | undefined;
  /** Where a symlink leads. */
  readonly target: string;
  lists: CreatedAcls;
  fresh: LatchInode | undefined;
}

type Fill = (task: Task, handle: Handle, inode: LatchInode, making: Making) => Awaitable<void>;

/** Nobody has looked yet. */
const NO_LISTS: CreatedAcls = { mode: 0, acl: undefined, default_acl: undefined };

/** Make an inode and give it its name, in one transaction; if that fails it goes again. */
function make(
  task: Task,
  dir: Inode,
  dentry: Dentry,
  mode: number,
  rdev: number,
  fill?: Fill,
  target = '',
): Awaitable<void> {
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  const m: Making = { dir: latchInode(dir), dentry, rdev, fill, target, lists: NO_LISTS, fresh: undefined };
  return andThen(andThen(posix_acl_create(task, dir, mode), makeOrDiscard, task, m), nameInMemory, task, dentry);
}

function makeOrDiscard(lists: CreatedAcls, task: Task, m: Making): Awaitable<LatchInode> {
  m.lists = lists;
  return orElse(makeCharged, discardMade, task, m);
}

function discardMade(error: unknown, task: Task, { fresh }: Making): Promise<never> {
  return discard(task, fresh, error);
}

function makeCharged(task: Task, m: Making): Awaitable<LatchInode> {
  return withOwners(task, m.dir, makeInHandle, m);
}

function makeInHandle(task: Task, m: Making): Awaitable<LatchInode> {
  return with_handle(task, infoOf(m.dir.i_sb), makeInode, CREDITS + acl_credits(m.lists), m);
}

function makeInode(handle: Handle, task: Task, m: Making): Awaitable<LatchInode> {
  return andThen(newInode(task, handle, m.dir, m.lists.mode, m.rdev), giveName, task, handle, m);
}

function giveName(made: LatchInode, task: Task, handle: Handle, m: Making): Awaitable<LatchInode> {
  m.fresh = made;
  return andThen(orElse(fillAndName, leaveNameless, task, handle, made, m), writeMade, task, handle, made, m);
}

function leaveNameless(error: unknown, task: Task, handle: Handle, made: LatchInode): Awaitable<never> {
  return nameless(task, handle, made, error);
}

function fillAndName(task: Task, handle: Handle, made: LatchInode, m: Making): Awaitable<void> {
  const { fill } = m;
  const filled = fill === undefined ? undefined : fill(task, handle, made, m);
  return andThen(andThen(filled, initAcl, task, handle, made, m), addName, task, handle, made, m);
}

function initAcl(_filled: void, task: Task, handle: Handle, made: LatchInode, { lists }: Making): Awaitable<void> {
  return init_acl(task, handle, made, lists);
}

function addName(_set: void, task: Task, handle: Handle, made: LatchInode, { dir, dentry }: Making): Awaitable<void> {
  return namesToChange(task, dir).add(task, handle, dentry.d_name, made.i_ino, dtype(made));
}

function writeMade(_named: void, task: Task, handle: Handle, made: LatchInode, m: Making): Awaitable<LatchInode> {
  if (isDir(made)) inode_links(task, m.dir).i_nlink++;
  return andThen(andThen(changed(task, handle, made), dirtyDir, task, handle, m), instead, made);
}

function dirtyDir(_written: void, task: Task, handle: Handle, { dir }: Making): Awaitable<void> {
  return dirty(task, handle, dir);
}

function nameInMemory(inode: LatchInode, task: Task, dentry: Dentry): void {
  unlock_new_inode(task, inode);
  d_instantiate(task, dentry, inode);
  d_rehash(task, dentry);
}

/** ->mknod (ext4_mknod). @throws ENOSPC EDQUOT EIO */
export function mknod(task: Task, dir: Inode, dentry: Dentry, mode: number, rdev: number): Awaitable<void> {
  return make(task, dir, dentry, mode, rdev);
}

/** ->create (ext4_create). @throws ENOSPC EDQUOT EIO */
export function create(task: Task, dir: Inode, dentry: Dentry, mode: number): Awaitable<void> {
  return make(task, dir, dentry, mode, 0);
}

/** Look up where nobody has yet; make and open in one step where there is nothing (gfs2_atomic_open). @throws ENOENT without O_CREAT */
export function atomic_open(
  task: Task,
  dir: Inode,
  dentry: Dentry,
  file: File,
  flags: number,
  mode: number,
): Awaitable<Dentry | undefined> {
  const other = d_in_lookup(dentry) ? lookup(task, dir, dentry) : undefined;
  return andThen(other, makeUnlessThere, task, dir, dentry, file, flags, mode);
}

function makeUnlessThere(
  other: Dentry | undefined,
  task: Task,
  dir: Inode,
  dentry: Dentry,
  file: File,
  flags: number,
  mode: number,
): Awaitable<Dentry | undefined> {
  if (!(other ?? dentry).isNegative) return other;
  if ((flags & O_CREAT) === 0) throw errno('ENOENT');
  return andThen(andThen(make(task, dir, dentry, mode, 0), openMade, task, file), nothing);
}

function openMade(_made: void, task: Task, file: File): Awaitable<void> {
  file.f_mode |= FMODE_CREATED;
  return finish_open(task, file);
}

/** ->mkdir (ext4_mkdir). @throws ENOSPC EDQUOT EIO */
export function mkdir(task: Task, dir: Inode, dentry: Dentry, mode: number): Awaitable<void> {
  return make(task, dir, dentry, S_IFDIR | (mode & S_IALLUGO), 0, fillDir);
}

function fillDir(_task: Task, _handle: Handle, inode: LatchInode, { dir }: Making): void {
  inode_init(inode).i_nlink = 2;
  inode.parent = dir.i_ino;
}

/** ->symlink (ext4_symlink): the target is kept in the inode, or in a block. @throws ENOSPC EDQUOT EIO */
export function symlink(task: Task, dir: Inode, dentry: Dentry, target: string): Awaitable<void> {
  return make(task, dir, dentry, S_IFLNK | 0o777, 0, fillSymlink, target);
}

function fillSymlink(task: Task, handle: Handle, inode: LatchInode, { target }: Making): Awaitable<void> {
  inode_init(inode).i_mode &= ~S_ISGID;
  inode.i_link = target;
  i_size_init(inode, target.length);
  return target.length > AREA_SIZE ? writeLongLink(task, handle, inode, target) : undefined;
}

/** A file without a name, which is on the orphan list until it gets one. @throws ENOSPC EDQUOT EIO */
export async function tmpfile(task: Task, dir: Inode, file: File, mode: number): Promise<void> {
  const lists = await posix_acl_create(task, dir, S_IFREG | (mode & S_IALLUGO));
  let fresh: LatchInode | undefined;
  const body = async (handle: Handle): Promise<LatchInode> => {
    const made = await newInode(task, handle, dir, lists.mode, 0);
    fresh = made;
    inode_init(made).i_nlink = 0;
    await infoOf(dir.i_sb).orphans.add(task, handle, made);
    await init_acl(task, handle, made, lists);
    await changed(task, handle, made);
    return made;
  };
  const credits = CREDITS + acl_credits(lists);
  const inode = await orElse(
    () => withOwners(task, latchInode(dir), () => with_handle(task, infoOf(dir.i_sb), body, credits), undefined),
    (error) => discard(task, fresh, error),
  );
  unlock_new_inode(task, inode);
  d_instantiate(task, file.f_dentry, inode);
}
