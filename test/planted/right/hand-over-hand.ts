/** An ioctl goes down a path locking each directory before it gives the one above back: locks are released in the order in which they were taken. */
import type { File } from '../../../src/fs/file.js';
import { I_MUTEX_CHILD, I_MUTEX_NORMAL, I_MUTEX_PARENT } from '../../../src/fs/inode.js';
import type { Task } from '../../../src/sched/task.js';
import type { Unusual } from '../harness.js';

let depth = 0;

async function unlocked_ioctl(task: Task, file: File): Promise<number> {
  let above = await file.f_inode.i_rwsem.read(task, I_MUTEX_PARENT);
  let at = file.f_dentry;
  for (const level of [I_MUTEX_CHILD, I_MUTEX_NORMAL]) {
    const child = at.d_children?.get('d');
    if (child?.d_inode === undefined) break;
    const below = await child.d_inode.i_rwsem.read(task, level);
    above.release();
    above = below;
    at = child;
    depth++;
  }
  above.release();
  return depth;
}

export const unusual: Unusual = {
  what: 'locks are given back in the order in which they were taken',
  changes: { dirFops: { unlocked_ioctl } },
  use: async ({ sys }) => {
    await sys.mkdir('/d', 0o755);
    await sys.mkdir('/d/d', 0o755);
    await sys.ioctl(await sys.open('/', 0), 0x7804);
    return depth === 2;
  },
};
