/** page_mkwrite answers VM_FAULT_LOCKED and has unlocked the page. */

import type { File } from '../../../src/fs/file.js';
import { mmap_with } from '../../../src/fs/mmap.js';
import { folio_lock, folio_unlock } from '../../../src/mm/folio-state.js';
import { VM_FAULT_LOCKED, type VmArea, type VmFault } from '../../../src/mm/vma.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../../src/uapi/mman.js';
import { outcome, type Planted } from '../harness.js';

async function page_mkwrite(task: Task, vma: VmArea, vmf: VmFault): Promise<number> {
  const { page } = vmf;
  if (page === undefined) return VM_FAULT_LOCKED;
  using _filling = await vma.vm_file?.f_mapping.invalidate_lock.read(task);
  await folio_lock(task, page);
  folio_unlock(task, page);
  return VM_FAULT_LOCKED;
}

export const planted: Planted = {
  bug: 'page_mkwrite answers VM_FAULT_LOCKED with the page unlocked',
  changes: { fops: { mmap: (_task, file: File, vma) => mmap_with(file, vma, page_mkwrite) } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.ftruncate(fd, 4096);
    const addr = await sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    await outcome(sys.store(addr, Buffer.from('x')));
    await sys.munmap(addr, 4096);
  },
  reports: [
    {
      kind: 'lock-not-held',
      rule: 'vm_operations_struct.page_mkwrite/folio/folio',
      op: 'vm_operations_struct.page_mkwrite',
      held: ['mmap_lock (read)'],
      at: 'page_mkwrite',
    },
  ],
};
