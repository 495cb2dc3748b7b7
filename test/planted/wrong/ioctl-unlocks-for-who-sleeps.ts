/** One ioctl locks the file and waits for the other, which gives the lock back for it. */

import type { File } from '../../../src/fs/file.js';
import type { Held } from '../../../src/locking/held.js';
import type { Task } from '../../../src/sched/task.js';
import { WaitQueue } from '../../../src/sched/wait.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

const queue = new WaitQueue();
let locked: Held | undefined;

async function hold(task: Task, file: File): Promise<number> {
  locked = await file.f_inode.i_rwsem.write(task);
  try {
    await queue.wait(task, { what: 'the other' });
  } finally {
    locked.release();
  }
  return 0;
}

function unlock_for(): number {
  locked?.release();
  queue.wake_all();
  return 0;
}

export const planted: Planted = {
  bug: 'a lock is released by another task than its owner',
  changes: { fops: { unlocked_ioctl: (task, file, cmd) => (cmd === 0x7804 ? hold(task, file) : unlock_for()) } },
  provoke: async ({ sys, other }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const holding = sys.ioctl(fd, 0x7804);
    await other.ioctl(await other.open('/f', 0), 0x7805);
    await holding;
  },
  reports: [
    {
      kind: 'unlock-not-owner',
      rule: 'lock#released-once-by-its-owner',
      op: 'file_operations.unlocked_ioctl',
      held: ['i_rwsem (write)'],
      at: 'unlock_for',
    },
  ],
};
