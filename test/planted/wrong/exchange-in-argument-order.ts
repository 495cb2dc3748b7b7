/** An ioctl that exchanges two files locks them in the order of its arguments, on two nesting levels, so that lock classes say nothing against it: whose
 * locks they are does, whether or not two tasks meet. */

import type { File } from '../../../src/fs/file.js';
import { I_MUTEX_NONDIR2 } from '../../../src/fs/inode.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { inoOf, outcome, type Planted } from '../harness.js';

async function unlocked_ioctl(task: Task, file: File, _cmd: number, arg: Buffer): Promise<number> {
  const other = file.f_inode.i_sb.inodeHash.get(arg.readInt32LE(0));
  using _first = await file.f_inode.i_rwsem.write(task);
  await task.sched.yield();
  using _second = await other?.i_rwsem.write(task, I_MUTEX_NONDIR2);
  return 0;
}

export const planted: Planted = {
  bug: 'two tasks exchange two files the other way round',
  changes: { fops: { unlocked_ioctl } },
  provoke: async ({ sys, other }) => {
    const [f, g] = [await sys.open('/f', O_CREAT | O_RDWR, 0o644), await other.open('/g', O_CREAT | O_RDWR, 0o644)];
    const [first, second] = [await inoOf(sys, '/g'), await inoOf(sys, '/f')];
    await Promise.all([outcome(sys.ioctl(f, 0x7801, first)), outcome(other.ioctl(g, 0x7801, second))]);
  },
  reports: [
    {
      kind: 'lock-order',
      rule: 'directory-locking#two-files-by-number',
      op: 'file_operations.unlocked_ioctl',
      held: ['i_rwsem (write)'],
      at: 'unlocked_ioctl',
    },
    {
      kind: 'deadlock',
      rule: 'lockdep#nobody-waits-in-a-circle',
      op: 'file_operations.unlocked_ioctl',
      held: ['i_rwsem (write)'],
      at: 'unlocked_ioctl',
    },
  ],
};
