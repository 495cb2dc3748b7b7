/** create keeps freezing away for its transaction and does not let it in again where the name is too long. */

import type { Dentry } from '../../../src/fs/dentry.js';
import type { Inode } from '../../../src/fs/inode.js';
import { sb_start_intwrite } from '../../../src/fs/super-freeze.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

async function create(task: Task, dir: Inode, dentry: Dentry): Promise<void> {
  await sb_start_intwrite(task, dir.i_sb);
  if (dentry.d_name.length > 8) throw errno('ENAMETOOLONG');
  throw errno('EROFS');
}

export const planted: Planted = {
  bug: 'create leaves freezing kept away',
  changes: { dir: { create } },
  provoke: ({ sys }) => outcome(sys.open('/a-long-name', O_CREAT | O_RDWR, 0o644)),
  reports: [
    {
      kind: 'leaked-by-operation',
      rule: 'inode_operations.create#leaves-no-lock',
      op: 'inode_operations.create',
      held: ['s_writers (read)', 'i_rwsem (write)', 's_writers (read)'],
      at: 'create',
    },
  ],
};
