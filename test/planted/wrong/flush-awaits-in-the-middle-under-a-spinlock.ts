/** flush waits for a server twice; between the two it takes a spinlock and keeps it for the second wait, so that its call has returned long before. */

import type { File } from '../../../src/fs/file.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

async function flush(task: Task, file: File): Promise<void> {
  await task.sched.yield();
  using _lock = file.f_inode.i_lock.lock(task);
  await task.sched.yield();
}

export const planted: Planted = {
  bug: 'a spinlock is taken after a first await and held across a second one',
  changes: { fops: { flush } },
  provoke: async ({ sys }) => {
    await outcome(sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644)));
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'spinlock#holder-may-not-sleep',
      op: 'file_operations.flush',
      held: ['i_lock (write)'],
      at: 'flush',
    },
  ],
};
