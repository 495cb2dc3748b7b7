/** getattr asks a server for the size with i_lock held. It waits for a bare promise, which no wait queue sees. */
import type { Dentry } from '../../../src/fs/dentry.js';
import { generic_fillattr } from '../../../src/fs/stat.js';
import type { Kstat } from '../../../src/fs/types.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { outcome, type Planted } from '../harness.js';

const answer = async (): Promise<number> => 42;

async function getattr(task: Task, dentry: Dentry): Promise<Kstat> {
  const { d_inode: inode } = dentry;
  if (inode === undefined) throw errno('ENOENT');
  using _lock = inode.i_lock.lock(task);
  const size = await answer();
  return { ...generic_fillattr(inode), size };
}

export const planted: Planted = {
  bug: 'a spinlock is held across an await',
  changes: { file: { getattr } },
  provoke: async ({ sys }) => {
    await sys.mknod('/f', 0o100644);
    await outcome(sys.stat('/f'));
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'spinlock#holder-may-not-sleep',
      op: 'inode_operations.getattr',
      held: ['i_lock (write)'],
      at: 'getattr',
    },
  ],
};
