/** page_mkwrite finds that its page has been truncated, makes a new one, and answers with that; the fault should be repeated. */

import type { File } from '../../../src/fs/file.js';
import { mmap_with } from '../../../src/fs/mmap.js';
import { folio_lock } from '../../../src/mm/folio-state.js';
import { VM_FAULT_LOCKED, VM_FAULT_SIGBUS, type VmArea, type VmFault } from '../../../src/mm/vma.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../../src/uapi/mman.js';
import { outcome, type Planted } from '../harness.js';

async function page_mkwrite(task: Task, vma: VmArea, vmf: VmFault): Promise<number> {
  using _filling = await vma.mapping?.invalidate_lock.read(task);
  const other = vma.mapping?.i_pages.load(1);
  if (other === undefined) return VM_FAULT_SIGBUS;
  await folio_lock(task, other);
  vmf.page = other;
  return VM_FAULT_LOCKED;
}

export const planted: Planted = {
  bug: 'page_mkwrite answers with a page that it was not asked about',
  changes: { fops: { mmap: (_task, file: File, vma) => mmap_with(file, vma, page_mkwrite) } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(8192, 1));
    const addr = await sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    await outcome(sys.store(addr, Buffer.from('x')));
    await sys.munmap(addr, 4096);
  },
  reports: [
    {
      kind: 'folio-state',
      rule: 'vm_operations_struct.page_mkwrite#truncated-means-retry',
      op: 'vm_operations_struct.page_mkwrite',
      held: ['mmap_lock (read)'],
      at: 'page_mkwrite',
    },
  ],
};
