/** lookup takes a mutex under which others look names up: of one name, the second waits for the first, and the first for the second. */

import { dput } from '../../../src/fs/dcache.js';
import { d_add } from '../../../src/fs/dcache-alias.js';
import type { Dentry } from '../../../src/fs/dentry.js';
import type { File } from '../../../src/fs/file.js';
import type { Inode } from '../../../src/fs/inode.js';
import { lookup_one } from '../../../src/fs/namei.js';
import { Mutex } from '../../../src/locking/mutex.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

const names = new Mutex('alloc_lock');
const steps = { locked: false, looking: false };

async function lookup(task: Task, _dir: Inode, dentry: Dentry): Promise<undefined> {
  if (dentry.d_name === 'slow' && task.syscall === 'stat') {
    steps.looking = true;
    while (!steps.locked) await task.sched.yield();
    using _names = await names.lock(task);
  }
  d_add(task, dentry, undefined);
  return undefined;
}

async function unlocked_ioctl(task: Task, file: File): Promise<number> {
  const { s_root: root } = file.f_inode.i_sb;
  if (root === undefined) throw errno('EIO');
  while (!steps.looking) await task.sched.yield();
  using _names = await names.lock(task);
  steps.locked = true;
  await dput(task, await lookup_one(task, root, 'slow'));
  return 0;
}

export const planted: Planted = {
  bug: 'a lookup is waited for by a task that it waits for',
  changes: { dir: { lookup }, fops: { unlocked_ioctl } },
  provoke: async ({ sys, other }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await Promise.all([outcome(other.stat('/slow')), outcome(sys.ioctl(fd, 0x7805))]);
  },
  reports: [
    {
      kind: 'lock-order',
      rule: 'lockdep#circular-dependency',
      op: 'inode_operations.lookup',
      held: ['i_rwsem (read)'],
      at: 'unlocked_ioctl',
    },
    {
      kind: 'deadlock',
      rule: 'lockdep#nobody-waits-in-a-circle',
      op: 'inode_operations.lookup',
      held: ['i_rwsem (read)'],
      at: 'unlocked_ioctl',
    },
  ],
};
