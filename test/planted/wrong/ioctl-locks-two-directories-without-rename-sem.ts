/** An ioctl that exchanges two entries of two directories locks both by number, and has forgotten s_vfs_rename_sem: one of them may move below the other meanwhile. */

import type { File } from '../../../src/fs/file.js';
import { I_MUTEX_PARENT, I_MUTEX_PARENT2 } from '../../../src/fs/inode.js';
import type { Task } from '../../../src/sched/task.js';
import { O_DIRECTORY } from '../../../src/uapi/fcntl.js';
import { inoOf, outcome, type Planted } from '../harness.js';

async function unlocked_ioctl(task: Task, file: File, _cmd: number, arg: Buffer): Promise<number> {
  const other = file.f_inode.i_sb.inodeHash.get(arg.readInt32LE(0));
  using _first = await file.f_inode.i_rwsem.write(task, I_MUTEX_PARENT);
  using _second = await other?.i_rwsem.write(task, I_MUTEX_PARENT2);
  return 0;
}

export const planted: Planted = {
  bug: 'two directories that are not related are locked without s_vfs_rename_sem',
  changes: { dirFops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    await sys.mkdir('/a', 0o755);
    await sys.mkdir('/b', 0o755);
    await outcome(sys.ioctl(await sys.open('/a', O_DIRECTORY), 0x7804, await inoOf(sys, '/b')));
  },
  reports: [
    {
      kind: 'lock-order',
      rule: 'directory-locking#unrelated-under-s_vfs_rename_sem',
      op: 'file_operations.unlocked_ioctl',
      held: ['i_rwsem (write)'],
      at: 'unlocked_ioctl',
    },
  ],
};
