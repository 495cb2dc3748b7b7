/** Locking two files at once, always in one order (lock_two_nondirectories of fs/inode.c, filemap_invalidate_lock_two of mm/filemap.c). */
import type { Exclusive } from '../locking/held.js';
import type { Task } from '../sched/task.js';
import { I_MUTEX_NONDIR2, I_MUTEX_NORMAL, type Inode } from './inode.js';

/** The level of invalidate_lock for the second of two. */
const SECOND = 1;

/** Two locks, or one where both files are one. Given back together. */
export class Both<L extends 'i_rwsem' | 'invalidate_lock'> implements Disposable {
  readonly a: Exclusive<L>;
  readonly b: Exclusive<L>;

  constructor(a: Exclusive<L>, b: Exclusive<L>) {
    this.a = a;
    this.b = b;
  }

  [Symbol.dispose](): void {
    if (this.b !== this.a) this.b.release();
    this.a.release();
  }
}

/** i_rwsem of two files of one filesystem, exclusively; the lower number first. */
export async function lock_two_nondirectories(task: Task, a: Inode, b: Inode): Promise<Both<'i_rwsem'>> {
  return await inOrder(a, b, async (inode, second) => {
    return await inode.i_rwsem.write(task, second ? I_MUTEX_NONDIR2 : I_MUTEX_NORMAL);
  });
}

/** invalidate_lock of two files of one filesystem, exclusively: neither can be loaded, nor made writable in a mapping. */
export async function filemap_invalidate_lock_two(task: Task, a: Inode, b: Inode): Promise<Both<'invalidate_lock'>> {
  return await inOrder(a, b, async (inode, second) => {
    return await inode.i_mapping.invalidate_lock.write(task, second ? SECOND : 0);
  });
}

async function inOrder<L extends 'i_rwsem' | 'invalidate_lock'>(
  a: Inode,
  b: Inode,
  lock: (inode: Inode, second: boolean) => Promise<Exclusive<L>>,
): Promise<Both<L>> {
  const [low, high] = a.i_ino <= b.i_ino ? [a, b] : [b, a];
  const first = await lock(low, false);
  if (low === high) return new Both(first, first);
  let next: Exclusive<L>;
  try {
    next = await lock(high, true);
  } catch (error) {
    first.release();
    throw error;
  }
  return low === a ? new Both(first, next) : new Both(next, first);
}
