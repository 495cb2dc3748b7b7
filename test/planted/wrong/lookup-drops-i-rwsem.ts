/** lookup gives i_rwsem of the directory back while it asks a server, because it holds up everybody else, and does not take it again. */
import { d_add } from '../../../src/fs/dcache-alias.js';
import type { Dentry } from '../../../src/fs/dentry.js';
import type { Inode } from '../../../src/fs/inode.js';
import { type Held, heldBy } from '../../../src/locking/held.js';
import type { Task } from '../../../src/sched/task.js';
import { outcome, type Planted } from '../harness.js';

async function lookup(task: Task, dir: Inode, dentry: Dentry): Promise<undefined> {
  (heldBy(task, dir.i_rwsem) as Held).release();
  await task.sched.yield();
  d_add(task, dentry, undefined);
}

export const planted: Planted = {
  bug: 'lookup drops i_rwsem of the directory',
  changes: { dir: { lookup } },
  provoke: ({ sys }) => outcome(sys.stat('/nothing')),
  reports: [
    {
      kind: 'lock-not-held',
      rule: 'inode_operations.lookup/i_rwsem/dir',
      op: 'inode_operations.lookup',
      held: [],
      at: 'lookup',
    },
  ],
};
