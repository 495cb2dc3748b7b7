/** fault puts a page into the cache and fills it itself, under the page's lock only: a hole that is punched meanwhile is filled with what was there before. */

import type { File } from '../../../src/fs/file.js';
import { mmap_with } from '../../../src/fs/mmap.js';
import { filemap_grab_folio } from '../../../src/mm/filemap.js';
import { folio_mark_uptodate } from '../../../src/mm/folio-state.js';
import { VM_FAULT_LOCKED, VM_FAULT_SIGBUS, type VmArea, type VmFault } from '../../../src/mm/vma.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { MAP_SHARED, PROT_READ } from '../../../src/uapi/mman.js';
import { outcome, type Planted } from '../harness.js';

async function fault(task: Task, vmf: VmFault): Promise<number> {
  const { mapping } = vmf.vma;
  if (mapping === undefined) return VM_FAULT_SIGBUS;
  const { folio } = await filemap_grab_folio(task, mapping, vmf.pgoff);
  folio.data.fill(0);
  folio_mark_uptodate(folio);
  vmf.page = folio;
  return VM_FAULT_LOCKED;
}

function mmap(_task: Task, file: File, vma: VmArea): void {
  mmap_with(file, vma, undefined);
  vma.vm_ops = { fault };
}

export const planted: Planted = {
  bug: 'fault fills a page without invalidate_lock',
  changes: { fops: { mmap } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.ftruncate(fd, 4096);
    const addr = await sys.mmap(0, 4096, PROT_READ, MAP_SHARED, fd);
    await outcome(sys.load(addr, 1));
    await sys.munmap(addr, 4096);
  },
  reports: [
    {
      kind: 'guarded-state',
      rule: 'guarded#pages that are filled',
      op: 'vm_operations_struct.fault',
      held: ['mmap_lock (read)', 'folio (write)'],
      at: 'fault',
    },
  ],
};
