/** Which files the kernel may have pages of that a direct write has made stale. */
import { Mutex } from 'async-mutex';
import type { Inode } from '../../fs/inode.js';
import type { Awaitable } from '../../sched/awaitable.js';
import { Notify } from '../protocol/flags.js';
import { notifyInvalInode } from '../protocol/notify.js';
import type { Session } from '../session.js';

interface Reads {
  /** Answers to READ that are to fill pages, and have not left. */
  underWay: number;
  /** There were some since the pages were last dropped. */
  some: boolean;
}

/**
 * The kernel drops the pages of a range before it sends a direct write, and once more when it is done, unless it is asynchronous (io_submit, io_uring): a
 * page that was filled between the two, with what was there before the write, would stay. So we have it dropped before we answer.
 */
export class CachedPages {
  readonly #reads = new WeakMap<Inode, Reads>();
  /** A notification waits for pages that are being filled, on a thread of a small pool. */
  readonly #one = new Mutex();

  /** A READ that fills pages begins. It must come to an end with `filled`. */
  filling(inode: Inode): void {
    const reads = this.#reads.get(inode);
    if (reads === undefined) {
      this.#reads.set(inode, { underWay: 1, some: true });
      return;
    }
    reads.underWay++;
    reads.some = true;
  }

  /** Its answer has left. */
  filled(inode: Inode): void {
    const reads = this.#reads.get(inode);
    if (reads !== undefined) reads.underWay--;
  }

  /**
   * A direct write of `length` bytes at `offset` has changed the file: what the kernel may have cached of that goes. No lock may be held: the kernel waits for
   * pages, and they for us.
   */
  written(s: Session, inode: Inode, offset: number, length: number): Awaitable<void> {
    const reads = this.#reads.get(inode);
    if (reads?.some !== true || length === 0) return undefined;
    reads.some = reads.underWay > 0;
    return s.sb.sched.external(this.#drop(s, s.nodes.idOf(inode), offset, length));
  }

  /** A kernel that does not know the inode any more has no pages of it either. */
  async #drop(s: Session, ino: number, offset: number, length: number): Promise<void> {
    await this.#one.runExclusive(() =>
      s.transport.notifyLater(Notify.INVAL_INODE, notifyInvalInode(s.transport.out, ino, offset, length)),
    );
  }
}
