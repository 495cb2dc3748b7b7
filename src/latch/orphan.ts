/**
 * The orphan list (fs/ext4/orphan.c): inodes that lost their last name while they were open, and files whose truncation is under way. It begins in the
 * superblock and goes on in each inode, so that a mount after a crash can finish what was begun.
 */
import { type Held, release_held } from '../locking/held.js';
import { Mutex } from '../locking/mutex.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { LatchInfo } from './info.js';
import type { LatchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';

export class Orphans {
  readonly #info: LatchInfo;
  readonly s_orphan_lock = new Mutex('s_orphan_lock');
  /** Who is on the list in memory, and who stands before. */
  readonly #before = new Map<LatchInode, LatchInode | undefined>();
  readonly #byIno = new Map<number, LatchInode>();

  constructor(info: LatchInfo) {
    this.#info = info;
  }

  has(inode: LatchInode): boolean {
    return this.#before.has(inode);
  }

  /** Put an inode at the head of the list, and into its buffer. Nothing happens where it is there. Takes s_orphan_lock. @throws EIO EROFS */
  add(task: Task, handle: Handle, inode: LatchInode): Awaitable<void> {
    return andThen(this.s_orphan_lock.lock(task), change, task, handle, inode, this, Orphans.#addLocked);
  }

  static #addLocked(_lock: Held, task: Task, handle: Handle, inode: LatchInode, orphans: Orphans): Awaitable<void> {
    const info = orphans.#info;
    if (orphans.#before.has(inode)) return writeInode(task, handle, info, inode);
    return andThen(info.changeSuper(task, handle), Orphans.#addFirst, task, handle, inode, orphans);
  }

  static #addFirst(_may: void, task: Task, handle: Handle, inode: LatchInode, orphans: Orphans): Awaitable<void> {
    const { super: disk } = orphans.#info;
    const head = orphans.#byIno.get(disk.orphan);
    inode.nextOrphan = disk.orphan;
    disk.orphan = inode.i_ino;
    if (head !== undefined) orphans.#before.set(head, inode);
    orphans.#enter(inode);
    return writeInode(task, handle, orphans.#info, inode);
  }

  /** Take an inode off the list; it is put into its buffer by the caller. Nothing happens where it is not there. Takes s_orphan_lock. @throws EIO EROFS */
  del(task: Task, handle: Handle, inode: LatchInode): Awaitable<void> {
    if (!this.#before.has(inode)) return undefined;
    return andThen(this.s_orphan_lock.lock(task), change, task, handle, inode, this, Orphans.#delLocked);
  }

  static #delLocked(_lock: Held, task: Task, handle: Handle, inode: LatchInode, orphans: Orphans): Awaitable<void> {
    return andThen(orphans.#info.changeSuper(task, handle), Orphans.#takeOut, task, handle, inode, orphans);
  }

  static #takeOut(_may: void, task: Task, handle: Handle, inode: LatchInode, orphans: Orphans): Awaitable<void> {
    const before = orphans.#before.get(inode);
    const { super: disk } = orphans.#info;
    const after = orphans.#byIno.get(inode.nextOrphan);
    if (after !== undefined) orphans.#before.set(after, before);
    if (before === undefined) disk.orphan = inode.nextOrphan;
    else before.nextOrphan = inode.nextOrphan;
    inode.nextOrphan = 0;
    orphans.#before.delete(inode);
    orphans.#byIno.delete(inode.i_ino);
    return before === undefined ? undefined : writeInode(task, handle, orphans.#info, before);
  }

  /** At mount: the head of the list on the device has been read. */
  adopt(inode: LatchInode): void {
    if (inode.i_ino !== this.#info.super.orphan) throw errno('EIO', `inode ${inode.i_ino} is not the first orphan`);
    this.#enter(inode);
  }

  #enter(inode: LatchInode): void {
    this.#before.set(inode, undefined);
    this.#byIno.set(inode.i_ino, inode);
  }
}

type Change = (lock: Held, task: Task, handle: Handle, inode: LatchInode, orphans: Orphans) => Awaitable<void>;

/** Change the list with its lock held, and give that back. */
function change(
  lock: Held,
  task: Task,
  handle: Handle,
  inode: LatchInode,
  orphans: Orphans,
  body: Change,
): Awaitable<void> {
  return withCleanup(body, release_held, lock, task, handle, inode, orphans);
}
