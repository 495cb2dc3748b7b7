/** Page faults (handle_mm_fault of mm/memory.c): what is to be mapped where an access has found nothing, or may not write. */
import { vm_operations_struct as rows } from '../contract/vm.js';
import { call, type Participants } from '../locking/context.js';
import { assert_held } from '../locking/held.js';
import type { Awaitable } from '../sched/awaitable.js';
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { balance_dirty_pages_ratelimited } from './dirty-balance.js';
import { check_pfn_answer, is_same_page, lock_returned, returned_page } from './fault-check.js';
import { do_swap_page } from './fault-swap.js';
import { type Folio, folio_put, PAGE_SIZE } from './folio.js';
import { fields_of } from './folio-fields.js';
import { folio_mark_dirty, folio_unlock } from './folio-state.js';
import { vma_alloc_folio } from './page-alloc.js';
import { PMD_ORDER, PMD_PAGES, type Pte } from './page-table.js';
import { AnonRmap, set_pte, zap_pte } from './rmap.js';
import {
  FAULT_FLAG_WRITE,
  VM_EXEC,
  VM_FAULT_ERROR,
  VM_FAULT_FALLBACK,
  VM_FAULT_HWPOISON,
  VM_FAULT_LOCKED,
  VM_FAULT_NOPAGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
  VM_READ,
  VM_WRITE,
  type VmArea,
  type VmFault,
} from './vma.js';

/** Pages that a read fault maps around its own where they are at hand (fault_around_bytes). */
const FAULT_AROUND = 16;

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

/** Memory that belongs to no file comes as zeroes (do_anonymous_page). */
async function do_anonymous_page(task: Task, vmf: VmFault, vpn: number): Promise<number> {
  const folio = await vma_alloc_folio(task, vmf.vma.vm_mm.memory, vpn);
  folio.data.fill(0);
  return map_anon(task, vmf, vpn, folio, undefined);
}

/** Map a new anonymous page whose bytes are in, in place of `before` where that is still there. Takes over the reference. */
function map_anon(task: Task, vmf: VmFault, vpn: number, folio: Folio, before: Pte | undefined): number {
  const { vm_mm: mm, writable } = vmf.vma;
  fields_of(folio).uptodate = true;
  try {
    using _ptl = mm.page_table_lock.lock(task);
    const now = mm.pgd.pte(vpn);
    // Another thread was faster.
    if (now !== before) return 0;
    if (now !== undefined) zap_pte(task, mm, vpn, now);
    folio.anon = new AnonRmap();
    const write = writable && (vmf.flags & FAULT_FLAG_WRITE) !== 0;
    set_pte(task, mm, vpn, folio, write, write);
    mm.memory.inactive.addHead(folio);
    return 0;
  } finally {
    folio_put(folio);
  }
}

/** A page of a file (do_fault). */
function do_fault(task: Task, vmf: VmFault, vpn: number): Awaitable<number> {
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

/** The lock that a handler has said it returns with. */
function lockedBy(vmf: VmFault, ret: number): Participants {
  return (ret & VM_FAULT_LOCKED) === 0 ? {} : { folio: vmf.page?.lock };
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

/**
 * Tell the file that a page is to become writable (do_page_mkwrite).
 * @returns with VM_FAULT_LOCKED and the page locked where it may; 0 where the access is to be tried again
 */
async function do_page_mkwrite(task: Task, vmf: VmFault, page: Folio): Promise<number> {
  const { vma } = vmf;
  const page_mkwrite = vma.vm_ops?.page_mkwrite;
  if (page_mkwrite === undefined) return VM_FAULT_SIGBUS;
  vmf.page = page;
  vmf.flags |= FAULT_FLAG_WRITE;
  const locked = (ret: number): Participants => lockedBy(vmf, ret);
  const held = { mm: vma.vm_mm.mmap_lock };
  const ret = await call(task, rows.page_mkwrite, held, () => page_mkwrite(task, vma, vmf), locked);
  if ((ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) return ret;
  const returned = returned_page(task, vmf, rows.page_mkwrite, ret);
  if (!is_same_page(task, vmf, page, page_mkwrite)) return VM_FAULT_SIGBUS;
  // One that is said to be locked and is not was reported: it is locked here all the same.
  if ((ret & VM_FAULT_LOCKED) !== 0 && returned !== undefined) return ret;
  await lock_returned(task, page);
  if (page.mapping !== undefined) return ret | VM_FAULT_LOCKED;
  folio_unlock(task, page);
  return 0;
}

/** The page is dirty from now on, and who dirtied it may have to wait once mmap_lock is dropped (fault_dirty_shared_page). Unlocks. */
function fault_dirty_shared_page(task: Task, vmf: VmFault, page: Folio): void {
  const { mapping } = page;
  folio_mark_dirty(task, page);
  folio_unlock(task, page);
  if (mapping !== undefined) vmf.wait = (task) => balance_dirty_pages_ratelimited(task, mapping);
}

/** A store to a page that is mapped for reading (do_wp_page). */
function do_wp_page(task: Task, vmf: VmFault, vpn: number, pte: Pte): Awaitable<number> {
  const { folio } = pte;
  if (vmf.vma.shared) return folio === undefined ? wp_pfn(task, vmf, pte) : wp_page_shared(task, vmf, vpn, folio);
  if (folio?.anon !== undefined && folio.mapcount === 1 && folio.swap === undefined) {
    // Nobody else has it: it need not be copied (wp_page_reuse).
    using _ptl = vmf.vma.vm_mm.page_table_lock.lock(task);
    pte.write = true;
    pte.dirty = true;
    return 0;
  }
  return wp_page_copy(task, vmf, vpn, pte);
}

/** A private copy of a page, or of a bare frame (wp_page_copy). */
async function wp_page_copy(task: Task, vmf: VmFault, vpn: number, pte: Pte): Promise<number> {
  const copy = await vma_alloc_folio(task, vmf.vma.vm_mm.memory, vpn);
  pte.bytes?.copy(copy.data);
  return map_anon(task, vmf, vpn, copy, pte);
}

async function wp_page_shared(task: Task, vmf: VmFault, vpn: number, page: Folio): Promise<number> {
  const { vm_mm: mm, vm_ops } = vmf.vma;
  page.refcount++;
  try {
    if (vm_ops?.page_mkwrite !== undefined) {
      const ret = await do_page_mkwrite(task, vmf, page);
      if ((ret & VM_FAULT_LOCKED) === 0) return ret;
    } else await lock_returned(task, page);
    const pte = mm.pgd.pte(vpn);
    if (pte?.folio !== page) {
      // It was unmapped while we waited.
      folio_unlock(task, page);
      return 0;
    }
    {
      using _ptl = mm.page_table_lock.lock(task);
      pte.write = true;
      pte.dirty = true;
    }
    fault_dirty_shared_page(task, vmf, page);
    return 0;
  } finally {
    folio_put(page);
  }
}

/** A bare frame becomes writable (wp_pfn_shared). */
async function wp_pfn(task: Task, vmf: VmFault, entry: { write: boolean; dirty: boolean }): Promise<number> {
  const { vma } = vmf;
  const pfn_mkwrite = vma.vm_ops?.pfn_mkwrite;
  if (pfn_mkwrite !== undefined) {
    const ret = await call(task, rows.pfn_mkwrite, { mm: vma.vm_mm.mmap_lock }, () => pfn_mkwrite(task, vma, vmf));
    if ((ret & VM_FAULT_ERROR) !== 0) return ret;
    check_pfn_answer(task, ret, pfn_mkwrite);
  }
  using _ptl = vma.vm_mm.page_table_lock.lock(task);
  entry.write = true;
  entry.dirty = true;
  return VM_FAULT_NOPAGE;
}
