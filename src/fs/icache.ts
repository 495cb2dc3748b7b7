/** The inodes in memory (fs/inode.c): hash, reference counts, dirtying, eviction. */
import { super_operations } from '../contract/super.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import { I_CLEAR, I_DIRTY, I_FREEING, I_NEW, Inode } from './inode.js';
import type { SuperBlock } from './super-block.js';

/** Unused inodes kept for the next user. */
const MAX_UNUSED = 20_000;
const S_ISGID = 0o2000;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IXGRP = 0o010;

/** What the cache keeps for each superblock beside the hash. */
class Bookkeeping {
  /** Unused inodes, least recently used first. */
  readonly unused = new Set<Inode>();
  readonly dirty = new Set<Inode>();
  /** Where tasks wait for an inode that is being read or freed. */
  readonly changed = new WaitQueue();
}

const books = new WeakMap<SuperBlock, Bookkeeping>();

function bookOf(sb: SuperBlock): Bookkeeping {
  let book = books.get(sb);
  if (book === undefined) {
    book = new Bookkeeping();
    books.set(sb, book);
  }
  return book;
}

/** A fresh inode of the filesystem, with one reference, not in the hash (new_inode). */
export function new_inode(sb: SuperBlock): Inode {
  return sb.s_op.alloc_inode?.(sb) ?? new Inode(sb);
}

/** The inode in memory with a reference, or undefined (ilookup). One that is being freed counts as gone. */
export function ilookup(sb: SuperBlock, ino: number): Inode | undefined {
  const inode = sb.inodeHash.get(ino);
  if (inode === undefined || (inode.i_state & (I_FREEING | I_NEW)) !== 0) return undefined;
  ihold(inode);
  return inode;
}

/**
 * The inode by its number, with a reference (iget_locked). A fresh one has I_NEW set: its filesystem fills it in and calls unlock_new_inode;
 * others who want it wait until then.
 */
export function iget_locked(task: Task, sb: SuperBlock, ino: number): Awaitable<Inode> {
  const inode = sb.inodeHash.get(ino);
  if (inode === undefined) {
    const fresh = new_inode(sb);
    fresh.i_ino = ino;
    fresh.i_state = I_NEW;
    sb.inodeHash.set(ino, fresh);
    return fresh;
  }
  if ((inode.i_state & (I_FREEING | I_NEW)) === 0) {
    ihold(inode);
    return inode;
  }
  return bookOf(sb)
    .changed.wait(task, { what: `inode ${ino}` })
    .then(() => iget_locked(task, sb, ino));
}

/** Put a fresh inode in the hash, still I_NEW (insert_inode_locked). */
export function insert_inode_locked(inode: Inode): void {
  inode.i_state |= I_NEW;
  inode.i_sb.inodeHash.set(inode.i_ino, inode);
}

/** The inode is complete: whoever waits for it goes on (unlock_new_inode). */
export function unlock_new_inode(inode: Inode): void {
  inode.i_state &= ~I_NEW;
  bookOf(inode.i_sb).changed.wake_all();
}

/** The inode could not be read: it leaves the hash (iget_failed). */
export function iget_failed(inode: Inode): void {
  inode.i_sb.inodeHash.delete(inode.i_ino);
  inode.i_state |= I_FREEING | I_CLEAR;
  bookOf(inode.i_sb).changed.wake_all();
}

/** Take a reference to an inode that has one (ihold), or that the hash gave. */
export function ihold(inode: Inode): void {
  if (inode.i_count++ === 0) bookOf(inode.i_sb).unused.delete(inode);
}

/** Take a reference unless it is being freed (igrab). */
export function igrab(_task: Task, inode: Inode): Inode | undefined {
  if ((inode.i_state & I_FREEING) !== 0) return undefined;
  ihold(inode);
  return inode;
}

/** Give a reference back; the last one evicts an inode without names, and leaves others in the cache (iput). */
export function iput(task: Task, inode: Inode): Awaitable<void> {
  if (--inode.i_count > 0) return undefined;
  const { i_sb: sb } = inode;
  const lock = inode.i_lock.lock(task);
  const drop = call(task, super_operations.drop_inode, { inode: inode.i_lock }, () =>
    sb.s_op.drop_inode === undefined ? inode.i_nlink === 0 : sb.s_op.drop_inode(task, inode),
  );
  lock.release();
  if (drop) return evict(task, inode);
  const book = bookOf(sb);
  book.unused.add(inode);
  if (book.unused.size <= MAX_UNUSED) return undefined;
  return prune(task, book);
}

/** Let unused inodes go that have nothing to lose, oldest first. */
async function prune(task: Task, book: Bookkeeping): Promise<void> {
  for (const inode of book.unused) {
    if (book.unused.size <= MAX_UNUSED * 0.9) return;
    if ((inode.i_state & I_DIRTY) !== 0 || (inode.mappingIfAny?.nrpages ?? 0) > 0) {
      // It stays; looked at again after the others.
      book.unused.delete(inode);
      book.unused.add(inode);
      continue;
    }
    await evict(task, inode);
    if (task.signalled) return;
  }
}

/** Take an inode apart that nobody refers to (evict). */
async function evict(task: Task, inode: Inode): Promise<void> {
  const { i_sb: sb } = inode;
  const book = bookOf(sb);
  book.unused.delete(inode);
  inode.i_state |= I_FREEING;
  try {
    await call(task, super_operations.evict_inode, {}, () => sb.s_op.evict_inode?.(task, inode));
  } finally {
    book.dirty.delete(inode);
    if (sb.inodeHash.get(inode.i_ino) === inode) sb.inodeHash.delete(inode.i_ino);
    inode.i_state |= I_CLEAR;
    book.changed.wake_all();
  }
  await call(task, super_operations.destroy_inode, {}, () => sb.s_op.destroy_inode?.(inode));
  sb.rcu.call(() => sb.s_op.free_inode?.(inode));
}

/** Evict every inode of a superblock that goes away. @returns those still in use (evict_inodes) */
export async function evict_inodes(task: Task, sb: SuperBlock): Promise<Inode[]> {
  const busy: Inode[] = [];
  for (const inode of [...sb.inodeHash.values()]) {
    if (inode.i_count > 0) busy.push(inode);
    else await evict(task, inode);
  }
  return busy;
}

/** The inode differs from its copy on the device (__mark_inode_dirty). @param flags I_DIRTY_* */
export function mark_inode_dirty(task: Task, inode: Inode, flags: number): Awaitable<void> {
  const { i_sb: sb } = inode;
  if ((inode.i_state & I_FREEING) !== 0) return undefined;
  if ((inode.i_state & flags) !== flags) {
    if ((inode.i_state & I_DIRTY) === 0) inode.dirtied_when = sb.sched.monotonic();
    inode.i_state |= flags;
    bookOf(sb).dirty.add(inode);
  }
  if (sb.s_op.dirty_inode === undefined) return undefined;
  return call(task, super_operations.dirty_inode, {}, () => sb.s_op.dirty_inode?.(task, inode, flags));
}

/** The dirty inodes of a superblock, oldest first. */
export function dirty_inodes(sb: SuperBlock): Set<Inode> {
  return bookOf(sb).dirty;
}

/** Owner, group and mode of a new inode: a setgid directory passes its group on (inode_init_owner). */
export function inode_init_owner(task: Task, inode: Inode, dir: Inode | undefined, mode: number): void {
  inode.i_uid = task.cred.uid;
  inode.i_gid = task.cred.gid;
  let bits = mode;
  if (dir !== undefined && (dir.i_mode & S_ISGID) !== 0) {
    inode.i_gid = dir.i_gid;
    if ((mode & S_IFMT) === S_IFDIR) bits |= S_ISGID;
    else if ((mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP) && !inGroup(task, inode.i_gid)) bits &= ~S_ISGID;
  }
  inode.i_mode = bits;
}

/** Whether the caller is of a group or stands above groups (capable_wrt_inode_uidgid with CAP_FSETID). */
export function inGroup(task: Task, gid: number): boolean {
  return task.cred.gid === gid || task.cred.capable('CAP_FSETID') || task.cred.groups().includes(gid);
}

/** Run `body` with an inode, and give the reference back afterwards. */
export function withInode<T>(task: Task, inode: Inode, body: () => Awaitable<T>): Awaitable<T> {
  return andThen(body(), (value) => andThen(iput(task, inode), () => value));
}

/** @throws EMLINK where the filesystem's limit is reached */
export function inc_nlink(inode: Inode, max = 0xffffffff): void {
  if (inode.i_nlink >= max) throw errno('EMLINK');
  inode.i_nlink++;
}

export function drop_nlink(inode: Inode): void {
  inode.i_nlink--;
}
