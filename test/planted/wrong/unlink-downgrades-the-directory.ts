/** unlink lets readers into the directory early: it turns the exclusive lock of its caller into a shared one. */

import type { Inode } from '../../../src/fs/inode.js';
import type { Exclusive } from '../../../src/locking/held.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

function unlink(_task: Task, dir: Inode): void {
  const writer = dir.i_rwsem.writer as Exclusive<'i_rwsem'> | undefined;
  if (writer !== undefined) dir.i_rwsem.downgrade(writer);
  throw errno('EIO');
}

export const planted: Planted = {
  bug: 'unlink downgrades the lock of the directory',
  changes: { dir: { unlink } },
  provoke: async ({ sys, other }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await outcome(sys.unlink('/f'));
    // The lock is free again.
    await other.mkdir('/d', 0o755);
  },
  reports: [
    {
      kind: 'wrong-mode',
      rule: 'inode_operations.unlink/i_rwsem/dir',
      op: 'inode_operations.unlink',
      held: ['s_writers (read)', 'i_rwsem (write)', 'i_rwsem (read)'],
      at: 'unlink',
    },
  ],
};
