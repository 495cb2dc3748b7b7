/** An ioctl that moves an entry locks the directory, and s_vfs_rename_sem after it, which comes before. */
import type { File } from '../../../src/fs/file.js';
import { I_MUTEX_PARENT } from '../../../src/fs/inode.js';
import type { Task } from '../../../src/sched/task.js';
import type { Planted } from '../harness.js';

async function unlocked_ioctl(task: Task, file: File): Promise<number> {
  const { f_inode: dir } = file;
  using _dir = await dir.i_rwsem.write(task, I_MUTEX_PARENT);
  using _rename = await dir.i_sb.s_vfs_rename_sem.lock(task);
  return 0;
}

export const planted: Planted = {
  bug: 'an ioctl takes s_vfs_rename_sem with a directory locked',
  changes: { dirFops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    await sys.mkdir('/a', 0o755);
    await sys.mkdir('/b', 0o755);
    await sys.rename('/a', '/b/a');
    await sys.ioctl(await sys.open('/b', 0), 0x7803);
  },
  reports: [
    {
      kind: 'lock-order',
      rule: 'lockdep#circular-dependency',
      op: 'file_operations.unlocked_ioctl',
      held: ['i_rwsem (write)'],
      at: 'unlocked_ioctl',
    },
  ],
};
