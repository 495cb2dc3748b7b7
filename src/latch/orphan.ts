/**
 * The orphan list (fs/ext4/orphan.c): inodes that lost their last name while they were open, and files whose truncation is under way. It begins in the
 * superblock and goes on in each inode, so that a mount after a crash can finish what was begun.
 */
import { Mutex } from '../locking/mutex.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { LatchInfo } from './info.js';
import type { LatchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';

/** Blocks that joining or leaving the list may dirty: the superblock, and the inodes before and here. */
export const ORPHAN_CREDITS = 3;

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
    return this.#locked(task, () => {
      if (this.#before.has(inode)) return writeInode(task, handle, this.#info, inode);
      const { super: disk } = this.#info;
      return andThen(this.#info.changeSuper(task, handle), () => {
        const head = this.#byIno.get(disk.orphan);
        inode.nextOrphan = disk.orphan;
        disk.orphan = inode.i_ino;
        if (head !== undefined) this.#before.set(head, inode);
        this.#enter(inode);
        return writeInode(task, handle, this.#info, inode);
      });
    });
  }

  /** Take an inode off the list; it is put into its buffer by the caller. Nothing happens where it is not there. Takes s_orphan_lock. @throws EIO EROFS */
  del(task: Task, handle: Handle, inode: LatchInode): Awaitable<void> {
    if (!this.#before.has(inode)) return undefined;
    return this.#locked(task, () => {
      const before = this.#before.get(inode);
      const { super: disk } = this.#info;
      return andThen(this.#info.changeSuper(task, handle), () => {
        const after = this.#byIno.get(inode.nextOrphan);
        if (after !== undefined) this.#before.set(after, before);
        if (before === undefined) disk.orphan = inode.nextOrphan;
        else before.nextOrphan = inode.nextOrphan;
        inode.nextOrphan = 0;
        this.#before.delete(inode);
        this.#byIno.delete(inode.i_ino);
        return before === undefined ? undefined : writeInode(task, handle, this.#info, before);
      });
    });
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

  #locked(task: Task, body: () => Awaitable<void>): Awaitable<void> {
    return andThen(this.s_orphan_lock.lock(task), (lock) => withCleanup(body, () => lock.release()));
  }
}
