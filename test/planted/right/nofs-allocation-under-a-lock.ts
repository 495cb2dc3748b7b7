/** setxattr allocates with xattr_sem held, which writepage takes, but says that reclaim may not enter the filesystem for it (GFP_NOFS). */

import type { Dentry } from '../../../src/fs/dentry.js';
import type { Inode } from '../../../src/fs/inode.js';
import { RwSem } from '../../../src/locking/rwsem.js';
import { filemap_discard_folio } from '../../../src/mm/filemap.js';
import type { Folio } from '../../../src/mm/folio.js';
import { folio_alloc } from '../../../src/mm/page-alloc.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { reclaim, type Unusual } from '../harness.js';
import { writepage as plain_writepage } from '../plain-file.js';

const xattr_sem = new RwSem('xattr_sem');
let cleaned = 0;

async function set(task: Task, _dentry: Dentry, { i_mapping: mapping }: Inode): Promise<void> {
  using _attributes = await xattr_sem.write(task);
  mapping.gfp = 'GFP_NOFS';
  const page = await folio_alloc(task, mapping, 0);
  mapping.gfp = 'GFP_KERNEL';
  filemap_discard_folio(page);
}

async function writepage(task: Task, folio: Folio): Promise<void> {
  using _attributes = await xattr_sem.read(task);
  if (task.comm === 'kswapd') cleaned++;
  plain_writepage(task, folio);
}

export const unusual: Unusual = {
  what: 'an allocation under a lock of reclaim does not enter the filesystem',
  changes: { aops: { writepage }, xattr: [{ prefix: 'user.', set }] },
  use: async ({ sys, machine }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.setxattr('/f', 'user.a', Buffer.from('1'));
    await sys.write(fd, Buffer.from('x'));
    await reclaim(machine);
    return cleaned > 0;
  },
};
