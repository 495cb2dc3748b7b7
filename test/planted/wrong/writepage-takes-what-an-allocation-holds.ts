/** setxattr allocates a page with xattr_sem held, and writepage, which reclaim calls to get pages, takes xattr_sem (GFP_KERNEL for GFP_NOFS). */

import type { Dentry } from '../../../src/fs/dentry.js';
import type { Inode } from '../../../src/fs/inode.js';
import { RwSem } from '../../../src/locking/rwsem.js';
import { filemap_discard_folio } from '../../../src/mm/filemap.js';
import type { Folio } from '../../../src/mm/folio.js';
import { folio_alloc } from '../../../src/mm/page-alloc.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { type Planted, reclaim } from '../harness.js';
import { writepage as plain_writepage } from '../plain-file.js';

const xattr_sem = new RwSem('xattr_sem');

async function set(task: Task, _dentry: Dentry, inode: Inode): Promise<void> {
  using _attributes = await xattr_sem.write(task);
  const page = await folio_alloc(task, inode.i_mapping, 0);
  filemap_discard_folio(page);
}

async function writepage(task: Task, folio: Folio): Promise<void> {
  using _attributes = await xattr_sem.read(task);
  plain_writepage(task, folio);
}

export const planted: Planted = {
  bug: 'writepage takes a lock under which others allocate',
  changes: { aops: { writepage }, xattr: [{ prefix: 'user.', set }] },
  provoke: async ({ sys, machine }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.setxattr('/f', 'user.a', Buffer.from('1'));
    await sys.write(fd, Buffer.from('x'));
    await reclaim(machine);
  },
  reports: [
    {
      kind: 'lock-order',
      rule: 'lockdep#circular-dependency',
      op: 'address_space_operations.writepage',
      held: ['fs_reclaim (write)', 'folio (write)'],
      at: 'writepage',
    },
  ],
};
