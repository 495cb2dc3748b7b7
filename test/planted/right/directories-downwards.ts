/** A directory is locked and then those below it, two levels at once; and two that are not related, with s_vfs_rename_sem held. */

import type { File } from '../../../src/fs/file.js';
import { I_MUTEX_CHILD, I_MUTEX_PARENT, I_MUTEX_PARENT2 } from '../../../src/fs/inode.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_DIRECTORY } from '../../../src/uapi/fcntl.js';
import { inoOf, type Unusual } from '../harness.js';

async function unlocked_ioctl(task: Task, file: File, _cmd: number, arg: Buffer): Promise<number> {
  const { f_inode: dir } = file;
  const other = dir.i_sb.inodeHash.get(arg.readInt32LE(0));
  const root = dir.i_sb.s_root?.d_inode;
  if (other === undefined || root === undefined) throw errno('EBADF');
  {
    using _root = await root.i_rwsem.write(task, I_MUTEX_PARENT);
    using _dir = await dir.i_rwsem.write(task, I_MUTEX_CHILD);
  }
  using _rename = await dir.i_sb.s_vfs_rename_sem.lock(task);
  using _first = await other.i_rwsem.write(task, I_MUTEX_PARENT);
  using _second = await dir.i_rwsem.write(task, I_MUTEX_PARENT2);
  return 3;
}

export const unusual: Unusual = {
  what: 'directories are locked downwards, and side by side under s_vfs_rename_sem',
  changes: { dirFops: { unlocked_ioctl } },
  use: async ({ sys }) => {
    await sys.mkdir('/a', 0o755);
    await sys.mkdir('/b', 0o755);
    const [a, b] = [await sys.open('/a', O_DIRECTORY), await sys.open('/b', O_DIRECTORY)];
    await sys.ioctl(a, 0x7805, await inoOf(sys, '/b'));
    await sys.ioctl(b, 0x7805, await inoOf(sys, '/a'));
    return true;
  },
};
