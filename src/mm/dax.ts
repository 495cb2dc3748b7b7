/** Mappings of a device's own memory, without a page cache between (fs/dax.c): bare frames, huge where they lie together. */

import { SECTOR_SIZE } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import { bdev_direct_access } from '../block/block-device.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { vmf_error } from './filemap-fault.js';
import { PAGE_SIZE } from './folio.js';
import { PMD_ORDER, PMD_PAGES } from './page-table.js';
import {
  VM_FAULT_FALLBACK,
  VM_FAULT_NOPAGE,
  VM_FAULT_SIGBUS,
  VM_HUGEPAGE,
  VM_MIXEDMAP,
  VM_PFNMAP,
  type VmArea,
  type VmFault,
  type vm_operations_struct,
} from './vma.js';

const SECTORS = PAGE_SIZE / SECTOR_SIZE;

/** Where a page of the file is on the device, in pages; undefined beyond the end and for a hole. */
export type DaxIomap = (task: Task, pgoff: number) => Awaitable<number | undefined>;

/**
 * Make an area map the memory of a device (generic_dax_mmap): for the mmap of a file whose device has direct_access.
 * @param iomap where the pages are; a device that is mapped itself has page n at page n
 */
export function dax_mmap(vma: VmArea, bdev: BlockDevice, iomap: DaxIomap = wholeDevice(bdev)): void {
  vma.vm_flags |= VM_MIXEDMAP | VM_PFNMAP | VM_HUGEPAGE;
  vma.vm_ops = dax_vm_ops(bdev, iomap);
  // open is not called for the first area.
  bdev.direct_get();
}

function wholeDevice(bdev: BlockDevice): DaxIomap {
  return (_task, pgoff) => ((pgoff + 1) * PAGE_SIZE <= bdev.size ? pgoff : undefined);
}

function dax_vm_ops(bdev: BlockDevice, iomap: DaxIomap): vm_operations_struct {
  return {
    // The device keeps its blocks in their places for as long as an area has them.
    open: (task, vma) => {
      guard_write(task, GUARDED.vma, vma.vm_mm.mmap_lock);
      bdev.direct_get();
    },
    close: (task, vma) => {
      guard_read(task, GUARDED.vma, vma.vm_mm.mmap_lock);
      bdev.direct_put();
    },
    fault: (task, vmf) => dax_fault(task, vmf, bdev, iomap),
    huge_fault: (task, vmf, order) => dax_huge_fault(task, vmf, bdev, iomap, order),
    // The frame is the storage: a store needs nobody's leave but the device's.
    pfn_mkwrite: (task, vma) => {
      guard_read(task, GUARDED.vma, vma.vm_mm.mmap_lock);
      return bdev.read_only ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
    },
    access: (task, vma, address, buffer, write) => access_phys(task, vma, bdev, iomap, address, buffer, write),
  };
}

/** Set the entry for one frame (dax_iomap_pte_fault, vmf_insert_mixed). */
async function dax_fault(task: Task, vmf: VmFault, bdev: BlockDevice, iomap: DaxIomap): Promise<number> {
  const { vm_mm: mm } = vmf.vma;
  guard_read(task, GUARDED.vma, mm.mmap_lock);
  try {
    const page = await iomap(task, vmf.pgoff);
    if (page === undefined) return VM_FAULT_SIGBUS;
    const bytes = (await bdev_direct_access(task, bdev, page * SECTORS, PAGE_SIZE)).subarray(0, PAGE_SIZE);
    using _ptl = mm.page_table_lock.lock(task);
    const vpn = vmf.address / PAGE_SIZE;
    if (mm.pgd.pte(vpn) === undefined) {
      mm.pgd.setPte(vpn, { folio: undefined, bytes, write: false, dirty: false, swap: undefined, poisoned: false });
    }
    return VM_FAULT_NOPAGE;
  } catch (error) {
    return vmf_error(error);
  }
}

/** Set one entry for 2 MiB that lie together, and fall back to small ones where they do not (dax_iomap_pmd_fault). */
async function dax_huge_fault(
  task: Task,
  vmf: VmFault,
  bdev: BlockDevice,
  iomap: DaxIomap,
  order: number,
): Promise<number> {
  if (order !== PMD_ORDER) return VM_FAULT_FALLBACK;
  const { vm_mm: mm } = vmf.vma;
  guard_read(task, GUARDED.vma, mm.mmap_lock);
  const first = vmf.pgoff - (vmf.pgoff % PMD_PAGES);
  try {
    const start = await iomap(task, first);
    const end = await iomap(task, first + PMD_PAGES - 1);
    if (start === undefined || end !== start + PMD_PAGES - 1) return VM_FAULT_FALLBACK;
    const bytes = await bdev_direct_access(task, bdev, start * SECTORS, PMD_PAGES * PAGE_SIZE);
    if (bytes.length < PMD_PAGES * PAGE_SIZE) return VM_FAULT_FALLBACK;
    using _ptl = mm.page_table_lock.lock(task);
    const vpn = vmf.address / PAGE_SIZE;
    if (!mm.pgd.pmdInUse(vpn)) mm.pgd.setPmd(vpn, { bytes, write: false, dirty: false });
    return VM_FAULT_NOPAGE;
  } catch (error) {
    if (error instanceof Errno) return VM_FAULT_FALLBACK;
    throw error;
  }
}

/** access for debuggers (generic_access_phys). @returns bytes done, 0 where there is nothing */
async function access_phys(
  task: Task,
  vma: VmArea,
  bdev: BlockDevice,
  iomap: DaxIomap,
  address: number,
  buffer: Buffer,
  write: boolean,
): Promise<number> {
  guard_read(task, GUARDED.vma, vma.vm_mm.mmap_lock);
  const offset = address - vma.vm_start + vma.vm_pgoff * PAGE_SIZE;
  const page = await iomap(task, Math.floor(offset / PAGE_SIZE));
  if (page === undefined || (write && bdev.read_only)) return 0;
  const bytes = await bdev_direct_access(task, bdev, page * SECTORS, PAGE_SIZE);
  const at = offset % PAGE_SIZE;
  const n = Math.min(buffer.length, PAGE_SIZE - at);
  if (write) buffer.copy(bytes, at, 0, n);
  else bytes.copy(buffer, 0, at, at + n);
  return n;
}
