/** listxattr takes i_rwsem under xattr_sem, against the order of setxattr, but only tries, and says EAGAIN where it is not to be had. */

import type { Dentry } from '../../../src/fs/dentry.js';
import { RwSem } from '../../../src/locking/rwsem.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';
import { inodeOf } from '../plain-file.js';

const xattr_sem = new RwSem('xattr_sem');

async function set(task: Task): Promise<void> {
  using _attributes = await xattr_sem.write(task);
}

async function listxattr(task: Task, dentry: Dentry): Promise<string[]> {
  using _attributes = await xattr_sem.read(task);
  using inode = inodeOf(dentry).i_rwsem.tryRead(task);
  if (inode === undefined) throw errno('EAGAIN');
  return [];
}

export const unusual: Unusual = {
  what: 'a lock is tried against the order',
  changes: { file: { listxattr }, xattr: [{ prefix: 'user.', set }] },
  use: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.setxattr('/f', 'user.a', Buffer.from('1'));
    return (await sys.listxattr('/f')).length === 0;
  },
};
