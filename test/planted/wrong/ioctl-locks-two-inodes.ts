/** An ioctl that exchanges two files locks both, in the order in which it gets them and on one nesting level. */

import type { File } from '../../../src/fs/file.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { inoOf, type Planted } from '../harness.js';

const EXCHANGE = 0x7801;

async function unlocked_ioctl(task: Task, file: File, _cmd: number, arg: Buffer): Promise<number> {
  const other = file.f_inode.i_sb.inodeHash.get(arg.readInt32LE(0));
  using _first = await file.f_inode.i_rwsem.write(task);
  using _second = await other?.i_rwsem.write(task);
  return 0;
}

export const planted: Planted = {
  bug: 'an ioctl locks two inodes in no order',
  changes: { fops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.close(await sys.open('/g', O_CREAT | O_RDWR, 0o644));
    await sys.ioctl(fd, EXCHANGE, await inoOf(sys, '/g'));
  },
  reports: [
    {
      kind: 'lock-order',
      rule: 'lockdep#recursive-locking',
      op: 'file_operations.unlocked_ioctl',
      held: ['i_rwsem (write)'],
      at: 'unlocked_ioctl',
    },
  ],
};
