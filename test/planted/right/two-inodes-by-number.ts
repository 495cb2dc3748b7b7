/** Two tasks exchange two files the other way round; whoever does it locks the file with the lower number first (lock_two_nondirectories). */

import type { File } from '../../../src/fs/file.js';
import { I_MUTEX_NONDIR2 } from '../../../src/fs/inode.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { inoOf, type Unusual } from '../harness.js';

let exchanged = 0;

async function unlocked_ioctl(task: Task, file: File, _cmd: number, arg: Buffer): Promise<number> {
  const { f_inode: inode } = file;
  const other = inode.i_sb.inodeHash.get(arg.readInt32LE(0));
  if (other === undefined) throw errno('EBADF');
  const [first, second] = inode.i_ino < other.i_ino ? [inode, other] : [other, inode];
  using _first = await first.i_rwsem.write(task);
  await task.sched.yield();
  using _second = await second.i_rwsem.write(task, I_MUTEX_NONDIR2);
  return ++exchanged;
}

export const unusual: Unusual = {
  what: 'two inodes are locked by number, on two nesting levels',
  changes: { fops: { unlocked_ioctl } },
  use: async ({ sys, other }) => {
    const [f, g] = [await sys.open('/f', O_CREAT | O_RDWR, 0o644), await other.open('/g', O_CREAT | O_RDWR, 0o644)];
    const [first, second] = [await inoOf(sys, '/g'), await inoOf(sys, '/f')];
    await Promise.all([sys.ioctl(f, 0x7802, first), other.ioctl(g, 0x7802, second)]);
    return exchanged === 2;
  },
};
