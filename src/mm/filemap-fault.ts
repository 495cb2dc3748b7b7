/** Faults on mapped files (filemap_fault, filemap_map_pages, filemap_page_mkwrite of mm/filemap.c). */
import { vm_operations_struct as rows } from '../contract/vm.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace, MmFile } from './address-space.js';
import { filemap_grab_folio } from './filemap.js';
import { filemap_read_folio } from './filemap-read.js';
import { filemap_get_folio } from './filemap-tree.js';
import { type Folio, folio_put, PAGE_SIZE, pageOf } from './folio.js';
import { folio_mark_dirty, folio_trylock, folio_unlock, folio_wait_writeback } from './folio-state.js';
import { folio_mark_accessed } from './lru.js';
import { page_cache_async_ra, page_cache_sync_ra } from './readahead.js';
import { set_pte } from './rmap.js';
import {
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_TRIED,
  VM_FAULT_LOCKED,
  VM_FAULT_MAJOR,
  VM_FAULT_NOPAGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_MAYWRITE,
  VM_RAND_READ,
  VM_SHARED,
  type VmArea,
  type VmFault,
  type vm_operations_struct,
} from './vma.js';

/** The answer to an error of the filesystem (vmf_error). */
export function vmf_error(error: unknown): number {
  return isErrno(error, 'ENOMEM') ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

/** Pages of a file, the last one in part. */
function pagesOf(mapping: AddressSpace): number {
  return pageOf(mapping.host.i_size + PAGE_SIZE - 1);
}

/**
 * fault for files in the page cache: finds the page, or reads it under invalidate_lock held shared, and returns it locked (filemap_fault).
 * @returns VM_FAULT_LOCKED, with VM_FAULT_MAJOR where it was read; VM_FAULT_RETRY where the page is locked and the caller would rather wait without mmap_lock;
 * VM_FAULT_SIGBUS beyond the end of the file and where it cannot be read; VM_FAULT_OOM
 */
export async function filemap_fault(task: Task, vmf: VmFault): Promise<number> {
  const file = vmf.vma.vm_file;
  if (file === undefined) return VM_FAULT_SIGBUS;
  if (task.row?.op === rows.huge_fault.op && task.row.section === rows.huge_fault.section) {
    task.validator.violation(task, 'folio-state', {
      message: 'filemap_fault is called from huge_fault',
      rule: 'vm_operations_struct.huge_fault#not-through-filemap_fault',
      row: rows.huge_fault,
    });
  }
  guard_read(task, GUARDED.vma, vmf.vma.vm_mm.mmap_lock);
  const mapping = file.f_mapping;
  const { pgoff } = vmf;
  if (pgoff >= pagesOf(mapping)) return VM_FAULT_SIGBUS;
  let major = 0;
  try {
    const cached = filemap_get_folio(mapping, pgoff);
    if (cached !== undefined) {
      try {
        if (cached.readahead && !randomly(vmf)) await page_cache_async_ra(task, file, mapping, cached, 1);
      } finally {
        folio_put(cached);
      }
    } else {
      major = VM_FAULT_MAJOR;
      if (!randomly(vmf)) await page_cache_sync_ra(task, file, mapping, pgoff, 1);
    }
    const found = await find_and_lock(task, file, mapping, vmf);
    if (found === undefined) return VM_FAULT_RETRY | major;
    // The file may have been cut while we waited for the lock.
    if (pgoff >= pagesOf(mapping)) {
      folio_unlock(task, found);
      folio_put(found);
      return VM_FAULT_SIGBUS;
    }
    folio_mark_accessed(found);
    guard_read(task, GUARDED.vma, vmf.vma.vm_mm.mmap_lock);
    vmf.page = found;
    return VM_FAULT_LOCKED | major;
  } catch (error) {
    return vmf_error(error);
  }
}

function randomly(vmf: VmFault): boolean {
  return (vmf.vma.vm_flags & VM_RAND_READ) !== 0;
}

/** The page of the fault, uptodate and locked, with a reference; undefined, and vmf.wait set, where somebody else has it locked. @throws EIO ENOMEM */
async function find_and_lock(
  task: Task,
  file: MmFile,
  mapping: AddressSpace,
  vmf: VmFault,
): Promise<Folio | undefined> {
  for (;;) {
    const folio = filemap_get_folio(mapping, vmf.pgoff);
    if (folio?.uptodate === true) {
      const locked = await lock_folio_maybe_retry(task, vmf, folio);
      if (!locked) {
        folio_put(folio);
        return undefined;
      }
      if (folio.mapping === mapping && folio.uptodate) return folio;
      folio_unlock(task, folio);
      folio_put(folio);
      continue;
    }
    if (folio !== undefined) folio_put(folio);
    const read = await read_locked(task, file, mapping, vmf.pgoff);
    if (read !== undefined) return read;
  }
}

/** @returns false where the caller is to come again when the page is unlocked */
async function lock_folio_maybe_retry(task: Task, vmf: VmFault, folio: Folio): Promise<boolean> {
  if (folio_trylock(task, folio)) return true;
  if ((vmf.flags & FAULT_FLAG_ALLOW_RETRY) !== 0 && (vmf.flags & FAULT_FLAG_TRIED) === 0) {
    const wait = (waiter: Task): Promise<void> => folio.lock.waitUnlocked(waiter);
    vmf.wait = wait;
    return false;
  }
  await folio.lock.lock(task);
  return true;
}

/** Read the page under invalidate_lock, so that no hole is punched meanwhile. @returns it locked, or undefined where it is to be looked up again */
async function read_locked(task: Task, file: MmFile, mapping: AddressSpace, index: number): Promise<Folio | undefined> {
  using _invalidate = await mapping.invalidate_lock.read(task);
  const { folio } = await filemap_grab_folio(task, mapping, index);
  if (folio.uptodate) return folio;
  try {
    await filemap_read_folio(task, file, mapping, folio);
  } finally {
    folio_put(folio);
  }
  return undefined;
}

/** map_pages for files in the page cache: what is uptodate and free of `start` to `end` is mapped for reading (filemap_map_pages). Does not block. */
export function filemap_map_pages(task: Task, vmf: VmFault, start: number, end: number): number {
  const { vma } = vmf;
  const { mapping, vm_mm: mm } = vma;
  if (mapping === undefined) return 0;
  guard_read(task, GUARDED.vma, mm.mmap_lock);
  guard_read(task, GUARDED.under_rcu, mm.memory.rcu);
  const last = Math.min(end, pagesOf(mapping) - 1);
  let ret = 0;
  for (const folio of mapping.i_pages.collect(start, last, end - start + 1)) {
    // What is locked, being read, or broken cannot be had without a wait.
    if (!folio.uptodate || folio.readahead || folio.poisoned || !folio_trylock(task, folio)) continue;
    try {
      const vpn = vma.vm_start / PAGE_SIZE + folio.index - vma.vm_pgoff;
      if (folio.mapping !== mapping) continue;
      using _ptl = mm.page_table_lock.lock(task);
      if (mm.pgd.pte(vpn) !== undefined) continue;
      set_pte(task, mm, vpn, folio, false, false);
      if (folio.index === vmf.pgoff) ret = VM_FAULT_NOPAGE;
    } finally {
      folio_unlock(task, folio);
    }
  }
  return ret;
}

/** What a filesystem does when a mapped page becomes writable. */
export interface MkwriteHooks {
  /** Before anything is locked: the file's times (file_update_time). */
  readonly update?: (task: Task) => Awaitable<void>;
  /** With the page locked, under invalidate_lock: blocks for it. May throw ENOSPC EDQUOT EIO ENOMEM. */
  readonly prepare?: (task: Task, folio: Folio) => Awaitable<void>;
}

/**
 * page_mkwrite: with invalidate_lock held shared, so that the file is neither cut nor cloned meanwhile, makes a page of a mapping writable
 * (filemap_page_mkwrite, block_page_mkwrite).
 * @returns VM_FAULT_LOCKED; VM_FAULT_NOPAGE where the page has been truncated; VM_FAULT_SIGBUS or VM_FAULT_OOM where a hook fails
 */
export async function filemap_page_mkwrite(
  task: Task,
  vma: VmArea,
  vmf: VmFault,
  hooks: MkwriteHooks = {},
): Promise<number> {
  const { page } = vmf;
  const { mapping } = vma;
  guard_read(task, GUARDED.vma, vma.vm_mm.mmap_lock);
  if (page === undefined || mapping === undefined) return VM_FAULT_SIGBUS;
  try {
    await hooks.update?.(task);
    using _invalidate = await mapping.invalidate_lock.read(task);
    await page.lock.lock(task);
    guard_read(task, GUARDED.vma, vma.vm_mm.mmap_lock);
    guard_read(task, GUARDED.filling, mapping.invalidate_lock);
    if (page.mapping !== mapping || page.index >= pagesOf(mapping)) {
      folio_unlock(task, page);
      return VM_FAULT_NOPAGE;
    }
    try {
      await hooks.prepare?.(task, page);
    } catch (error) {
      folio_unlock(task, page);
      throw error;
    }
    folio_mark_dirty(task, page);
    // What is on its way to the device must not change (folio_wait_stable).
    await folio_wait_writeback(task, page);
    return VM_FAULT_LOCKED;
  } catch (error) {
    return vmf_error(error);
  }
}

/** vm_ops of files in the page cache whose filesystem has nothing to do when a page becomes writable (generic_file_vm_ops). */
export const generic_file_vm_ops: vm_operations_struct = {
  fault: filemap_fault,
  map_pages: filemap_map_pages,
  page_mkwrite: filemap_page_mkwrite,
};

/** The mmap of such files (generic_file_mmap). @throws ENODEV where their pages cannot be read; EINVAL to write back what cannot be written */
export function generic_file_mmap(mapping: AddressSpace, vma: VmArea): void {
  const { read_folio, writepage, writepages, dirty_folio } = mapping.a_ops;
  if (read_folio === undefined) throw errno('ENODEV');
  const writes = (vma.vm_flags & (VM_SHARED | VM_MAYWRITE)) === (VM_SHARED | VM_MAYWRITE);
  if (writes && writepage === undefined && writepages === undefined && dirty_folio === undefined) throw errno('EINVAL');
  vma.vm_ops = generic_file_vm_ops;
}
