/** xattr_sem is taken under i_rwsem where attributes are set, and i_rwsem under xattr_sem where they are listed. */

import type { Dentry } from '../../../src/fs/dentry.js';
import { RwSem } from '../../../src/locking/rwsem.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';
import { inodeOf } from '../plain-file.js';

const xattr_sem = new RwSem('xattr_sem');

async function set(task: Task): Promise<void> {
  using _attributes = await xattr_sem.write(task);
}

async function listxattr(task: Task, dentry: Dentry): Promise<string[]> {
  using _attributes = await xattr_sem.read(task);
  using _inode = await inodeOf(dentry).i_rwsem.read(task);
  return [];
}

export const planted: Planted = {
  bug: 'listxattr takes i_rwsem under xattr_sem',
  changes: { file: { listxattr }, xattr: [{ prefix: 'user.', set }] },
  provoke: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.setxattr('/f', 'user.a', Buffer.from('1'));
    await sys.listxattr('/f');
  },
  reports: [
    {
      kind: 'lock-order',
      rule: 'lockdep#circular-dependency',
      op: 'inode_operations.listxattr',
      held: ['xattr_sem (read)'],
      at: 'listxattr',
    },
  ],
};
