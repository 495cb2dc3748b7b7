/** drop_inode takes a mutex to look at a list; i_lock is held around it. */

import { generic_drop_inode } from '../../../src/fs/icache.js';
import type { Inode } from '../../../src/fs/inode.js';
import type { Held } from '../../../src/locking/held.js';
import { Mutex } from '../../../src/locking/mutex.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

const orphans = new Mutex('s_orphan_lock');

function drop_inode(task: Task, inode: Inode): boolean {
  const held = orphans.lock(task) as Held<'s_orphan_lock', 'write'>;
  held.release();
  return generic_drop_inode(inode);
}

export const planted: Planted = {
  bug: 'drop_inode takes a mutex under i_lock',
  changes: { super: { drop_inode } },
  provoke: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.unlink('/f');
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'super_operations.drop_inode#may-not-block',
      op: 'super_operations.drop_inode',
      held: ['s_writers (read)', 'i_lock (write)'],
      at: 'drop_inode',
    },
  ],
};
