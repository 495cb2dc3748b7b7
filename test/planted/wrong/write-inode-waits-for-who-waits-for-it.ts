/** write_inode takes a mutex whose holder waits until the inode is written: no lock is between the two, and the order of locks says nothing. */

import type { File } from '../../../src/fs/file.js';
import { write_inode_now } from '../../../src/fs/fs-writeback.js';
import { I_DIRTY_SYNC } from '../../../src/fs/inode.js';
import { mark_inode_dirty } from '../../../src/fs/inode-dirty.js';
import { Mutex } from '../../../src/locking/mutex.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

const orphans = new Mutex('s_orphan_lock');
const steps = { wanted: false };

async function write_inode(task: Task): Promise<void> {
  if (task.syscall !== 'sync') return;
  steps.wanted = true;
  using _orphans = await orphans.lock(task);
}

async function unlocked_ioctl(task: Task, { f_inode: inode }: File): Promise<number> {
  using _orphans = await orphans.lock(task);
  await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
  while (!steps.wanted) await task.sched.yield();
  await write_inode_now(task, inode, true);
  return 0;
}

export const planted: Planted = {
  bug: 'an inode is waited for by a task that its writer waits for',
  changes: { super: { write_inode }, fops: { unlocked_ioctl } },
  provoke: async ({ sys, other, sb }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const waiting = outcome(sys.ioctl(fd, 0x7804));
    while (!sb.s_wb.dirty) await sb.sched.yield();
    await other.sync();
    await waiting;
  },
  reports: [
    {
      kind: 'deadlock',
      rule: 'lockdep#nobody-waits-in-a-circle',
      op: 'file_operations.unlocked_ioctl',
      held: ['s_orphan_lock (write)'],
      at: 'write_inode',
    },
  ],
};
