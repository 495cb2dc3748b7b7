/**
 * An ioctl holds i_lock over calls that sleep now and then only: it allocates a page, an inode and a name, and gives references back that are not the last ones. Each of them is
 * wrong, whether or not it would have waited this time.
 */

import { d_alloc, dget, dput } from '../../../src/fs/dcache.js';
import type { Dentry } from '../../../src/fs/dentry.js';
import type { File } from '../../../src/fs/file.js';
import { ihold, iput, new_inode } from '../../../src/fs/icache.js';
import type { Inode } from '../../../src/fs/inode.js';
import { filemap_grab_folio } from '../../../src/mm/filemap.js';
import { folio_put } from '../../../src/mm/folio.js';
import { folio_unlock } from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted, Report } from '../harness.js';

async function unlocked_ioctl(task: Task, { f_mapping, f_inode, f_dentry }: File): Promise<number> {
  let grabbed: ReturnType<typeof filemap_grab_folio>;
  let inode: Inode;
  let dentry: Dentry;
  {
    using _locked = f_inode.i_lock.lock(task);
    inode = new_inode(task, f_inode.i_sb);
    dentry = d_alloc(task, f_dentry.d_parent, 'fresh');
    ihold(f_inode);
    void iput(task, f_inode);
    void dput(task, dget(f_dentry));
    grabbed = filemap_grab_folio(task, f_mapping, 40);
  }
  const { folio } = await grabbed;
  folio_unlock(task, folio);
  folio_put(folio);
  await iput(task, inode);
  await dput(task, dentry);
  return 0;
}

const under_i_lock: Report = {
  kind: 'sleep-in-atomic',
  rule: 'spinlock#holder-may-not-sleep',
  op: 'file_operations.unlocked_ioctl',
  held: ['i_lock (write)'],
  at: 'unlocked_ioctl',
};

export const planted: Planted = {
  bug: 'memory is allocated and references are given back with a spinlock held',
  changes: { fops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    await sys.ioctl(await sys.open('/f', O_CREAT | O_RDWR, 0o644), 0x780a);
  },
  // The inode, the name, the reference to the inode, that to the name, the page.
  reports: Array.from({ length: 5 }, () => under_i_lock),
};
