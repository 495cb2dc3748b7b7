/** setattr cuts a file and forgets its pages: when it grows again, what was cut off is back. */

import { setattr_copy } from '../../../src/fs/attr.js';
import type { Dentry } from '../../../src/fs/dentry.js';
import { i_size_write } from '../../../src/fs/inode.js';
import type { Iattr } from '../../../src/fs/types.js';
import { PAGE_SIZE } from '../../../src/mm/folio.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';
import { inodeOf } from '../plain-file.js';

function setattr(task: Task, dentry: Dentry, attr: Iattr): void {
  const inode = inodeOf(dentry);
  if (attr.size !== undefined) i_size_write(task, inode, attr.size);
  setattr_copy(task, inode, attr);
}

export const planted: Planted = {
  bug: 'a file is cut, and its pages stay',
  changes: { file: { setattr } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(3 * PAGE_SIZE, 'x'));
    await sys.ftruncate(fd, PAGE_SIZE + 1);
  },
  reports: [
    {
      kind: 'folio-state',
      rule: 'folio#goes-with-the-end-of-its-file',
      op: 'inode_operations.setattr',
      held: ['s_writers (read)', 'i_rwsem (write)'],
      at: 'setattr',
    },
  ],
};
