/** Faults on pages of files that nothing maps yet (do_fault of mm/memory.c). */
import { vm_operations_struct as rows } from '../contract/vm.js';
import { call, type Participants } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { map_anon } from './fault-anon.js';
import { lock_returned, returned_page } from './fault-check.js';
import { do_page_mkwrite, fault_dirty_shared_page, lockedBy } from './fault-mkwrite.js';
import { type Folio, folio_put, PAGE_SIZE } from './folio.js';
import { folio_unlock } from './folio-state.js';
import { vma_alloc_folio } from './page-alloc.js';
import { set_pte } from './rmap.js';
import {
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_HWPOISON,
  VM_FAULT_LOCKED,
  VM_FAULT_NOPAGE,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  type VmFault,
} from './vma.js';

/** Pages that a read fault maps around its own where they are at hand (fault_around_bytes). */
const FAULT_AROUND = 16;

/** A page of a file (do_fault). */
export function do_fault(task: Task, vmf: VmFault, vpn: number): Awaitable<number> {
  if (vmf.vma.vm_ops?.fault === undefined) return VM_FAULT_SIGBUS;
  if ((vmf.flags & FAULT_FLAG_WRITE) === 0) return do_read_fault(task, vmf, vpn);
  return vmf.vma.shared ? do_shared_fault(task, vmf, vpn) : do_cow_fault(task, vmf, vpn);
}

/**
 * Have the file find the page (__do_fault): vmf.page is locked afterwards, with a reference, unless the answer has one of VM_FAULT_ERROR,
 * VM_FAULT_NOPAGE and VM_FAULT_RETRY.
 */
async function __do_fault(task: Task, vmf: VmFault): Promise<number> {
  const { vma } = vmf;
  const fault = vma.vm_ops?.fault;
  if (fault === undefined) return VM_FAULT_SIGBUS;
  const locked = (ret: number): Participants => lockedBy(vmf, ret);
  const ret = await call(task, rows.fault, { mm: vma.vm_mm.mmap_lock }, () => fault(task, vmf), locked);
  if ((ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) return ret;
  const folio = returned_page(task, vmf, rows.fault, ret);
  if (folio === undefined) return VM_FAULT_SIGBUS;
  if (folio.poisoned) {
    if ((ret & VM_FAULT_LOCKED) !== 0) folio_unlock(task, folio);
    folio_put(folio);
    return VM_FAULT_HWPOISON;
  }
  if ((ret & VM_FAULT_LOCKED) === 0) await lock_returned(task, folio);
  return ret | VM_FAULT_LOCKED;
}

/** Set the entry for a locked page, unless somebody else has (finish_fault). */
function finish_fault(task: Task, vmf: VmFault, vpn: number, folio: Folio, write: boolean): void {
  const { vm_mm: mm } = vmf.vma;
  using _ptl = mm.page_table_lock.lock(task);
  if (mm.pgd.pte(vpn) === undefined) set_pte(task, mm, vpn, folio, write, write);
}

async function do_read_fault(task: Task, vmf: VmFault, vpn: number): Promise<number> {
  const around = do_fault_around(task, vmf);
  if ((around & VM_FAULT_NOPAGE) !== 0) return around;
  const ret = await __do_fault(task, vmf);
  const { page } = vmf;
  if ((ret & VM_FAULT_LOCKED) === 0 || page === undefined) return ret;
  // Mapped for reading: the first store tells the file.
  finish_fault(task, vmf, vpn, page, false);
  folio_unlock(task, page);
  folio_put(page);
  return ret & ~VM_FAULT_LOCKED;
}

/** Map what is at hand around the address, without a wait (do_fault_around). */
function do_fault_around(task: Task, vmf: VmFault): number {
  const { vma } = vmf;
  const map_pages = vma.vm_ops?.map_pages;
  if (map_pages === undefined) return 0;
  const lastOfArea = vma.vm_pgoff + (vma.vm_end - vma.vm_start) / PAGE_SIZE - 1;
  const first = vmf.pgoff - (vmf.pgoff % FAULT_AROUND);
  const start = Math.max(first, vma.vm_pgoff);
  const end = Math.min(first + FAULT_AROUND - 1, lastOfArea);
  using _rcu = vma.vm_mm.memory.rcu.read(task);
  const participants = { mm: vma.vm_mm.mmap_lock, mapping: vma.vm_mm.memory.rcu };
  return call(task, rows.map_pages, participants, () => map_pages(task, vmf, start, end));
}

/** A store to a private mapping of a page that was never read: a copy at once (do_cow_fault). */
async function do_cow_fault(task: Task, vmf: VmFault, vpn: number): Promise<number> {
  const copy = await vma_alloc_folio(task, vmf.vma.vm_mm.memory, vpn);
  const ret = await __do_fault(task, vmf);
  const { page } = vmf;
  if ((ret & VM_FAULT_LOCKED) === 0 || page === undefined) {
    folio_put(copy);
    return ret;
  }
  page.data.copy(copy.data);
  folio_unlock(task, page);
  folio_put(page);
  return map_anon(task, vmf, vpn, copy, undefined) | (ret & ~VM_FAULT_LOCKED);
}

/** A store to a shared mapping (do_shared_fault). */
async function do_shared_fault(task: Task, vmf: VmFault, vpn: number): Promise<number> {
  const ret = await __do_fault(task, vmf);
  const { page } = vmf;
  if ((ret & VM_FAULT_LOCKED) === 0 || page === undefined) return ret;
  if (vmf.vma.vm_ops?.page_mkwrite !== undefined) {
    folio_unlock(task, page);
    const allowed = await do_page_mkwrite(task, vmf, page);
    if ((allowed & VM_FAULT_LOCKED) === 0) {
      folio_put(page);
      return allowed;
    }
  }
  finish_fault(task, vmf, vpn, page, true);
  fault_dirty_shared_page(task, vmf, page);
  folio_put(page);
  return ret & ~VM_FAULT_LOCKED;
}
