/** One ioctl locks the file and computes, in turns with others; the other gives the lock back for it. */

import type { File } from '../../../src/fs/file.js';
import type { Held } from '../../../src/locking/held.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

let locked: Held | undefined;
let done = false;

async function hold(task: Task, file: File): Promise<number> {
  locked = await file.f_inode.i_rwsem.write(task);
  while (!done) await task.sched.yield();
  locked.release();
  return 0;
}

async function unlock_for(task: Task): Promise<number> {
  await task.sched.yield();
  locked?.release();
  done = true;
  return 0;
}

export const planted: Planted = {
  bug: 'a lock is released by another task while its owner runs',
  changes: { fops: { unlocked_ioctl: (task, file, cmd) => (cmd === 0x780a ? hold(task, file) : unlock_for(task)) } },
  provoke: async ({ sys, other }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const holding = sys.ioctl(fd, 0x780a);
    await other.ioctl(await other.open('/f', 0), 0x780b);
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
