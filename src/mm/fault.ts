/** Page faults (handle_mm_fault of mm/memory.c): what is to be mapped where an access has found nothing, or may not write. */
import { vm_operations_struct as rows } from '../contract/vm.js';
import { call } from '../locking/context.js';
import { assert_held } from '../locking/held.js';
import type { Awaitable } from '../sched/awaitable.js';
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { do_anonymous_page } from './fault-anon.js';
import { do_fault } from './fault-file.js';
import { do_swap_page } from './fault-swap.js';
import { do_wp_page, wp_pfn } from './fault-wp.js';
import { PAGE_SIZE } from './folio.js';
import { PMD_ORDER, PMD_PAGES } from './page-table.js';
import {
  FAULT_FLAG_WRITE,
  VM_EXEC,
  VM_FAULT_FALLBACK,
  VM_FAULT_HWPOISON,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
  VM_READ,
  VM_WRITE,
  type VmArea,
  type VmFault,
} from './vma.js';

/** How a fault has ended. */
export interface Faulted {
  /** VM_FAULT_* bits; 0 or VM_FAULT_NOPAGE: the access can be tried again. */
  readonly fault: number;
  /** What the caller is to wait for after it has dropped mmap_lock: a page to be unlocked (with VM_FAULT_RETRY), or writers to be let on. */
  readonly wait: ((task: Task) => Awaitable<void>) | undefined;
}

/**
 * Handle a fault at an address of an area (handle_mm_fault). mmap_lock is held shared, before and after.
 * @param flags FAULT_FLAG_*
 */
export async function handle_mm_fault(task: Task, vma: VmArea, address: number, flags: number): Promise<Faulted> {
  assert_held(task, vma.vm_mm.mmap_lock);
  const vpn = Math.floor(address / PAGE_SIZE);
  const vmf: VmFault = {
    vma,
    address: vpn * PAGE_SIZE,
    pgoff: vma.vm_pgoff + vpn - vma.vm_start / PAGE_SIZE,
    flags,
    page: undefined,
    wait: undefined,
  };
  const needed = (flags & FAULT_FLAG_WRITE) !== 0 ? VM_WRITE : VM_READ | VM_WRITE | VM_EXEC;
  if ((vma.vm_flags & needed) === 0) return { fault: VM_FAULT_SIGSEGV, wait: undefined };
  const fault = await handle(task, vmf, vpn);
  return { fault, wait: vmf.wait };
}

async function handle(task: Task, vmf: VmFault, vpn: number): Promise<number> {
  const { vma } = vmf;
  const { pgd } = vma.vm_mm;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  const pmd = pgd.pmd(vpn);
  if (pmd !== undefined) return write && !pmd.write ? wp_pfn(task, vmf, pmd) : 0;
  const huge = await create_huge_pmd(task, vmf, vpn);
  if ((huge & VM_FAULT_FALLBACK) === 0) return huge;
  const pte = pgd.pte(vpn);
  try {
    if (pte === undefined)
      return await (vma.vm_ops === undefined ? do_anonymous_page(task, vmf, vpn) : do_fault(task, vmf, vpn));
    if (pte.poisoned) return VM_FAULT_HWPOISON;
    if (pte.swap !== undefined) {
      const swapped = await do_swap_page(task, vma, vpn, pte, write);
      return swapped === 0 ? 0 : swapped === 'oom' ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
    }
    return write && !pte.write ? await do_wp_page(task, vmf, vpn, pte) : 0;
  } catch (error) {
    if (isErrno(error, 'ENOMEM')) return VM_FAULT_OOM;
    throw error;
  }
}

/** Where nothing is mapped in the 2 MiB around the address and the area covers them, its file may map them at once. */
async function create_huge_pmd(task: Task, vmf: VmFault, vpn: number): Promise<number> {
  const { vma } = vmf;
  const huge_fault = vma.vm_ops?.huge_fault;
  if (huge_fault === undefined) return VM_FAULT_FALLBACK;
  const first = Math.floor(vpn / PMD_PAGES) * PMD_PAGES;
  const fits = first * PAGE_SIZE >= vma.vm_start && (first + PMD_PAGES) * PAGE_SIZE <= vma.vm_end;
  // File and address must be aligned alike.
  const alike = (vma.vm_start / PAGE_SIZE - vma.vm_pgoff) % PMD_PAGES === 0;
  if (!fits || !alike || vma.vm_mm.pgd.pmdInUse(vpn)) return VM_FAULT_FALLBACK;
  return call(task, rows.huge_fault, { mm: vma.vm_mm.mmap_lock }, () => huge_fault(task, vmf, PMD_ORDER));
}
