/** An access to a page that is in swap (do_swap_page of mm/memory.c). */
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { type Folio, folio_get, folio_put } from './folio.js';
import { fields_of } from './folio-fields.js';
import { vma_alloc_folio } from './page-alloc.js';
import type { Pte } from './page-table.js';
import { AnonRmap, set_pte } from './rmap.js';
import { type SwapEntry, swap_duplicate, swap_free } from './swap-info.js';
import { swap_read_folio } from './swap-io.js';
import { add_to_swap_cache, delete_from_swap_cache } from './swap-state.js';
import type { VmArea } from './vma.js';

/**
 * Bring a page in and map it. mmap_lock is held shared. The slot is given up when nobody else refers to it.
 * @returns 0, 'oom', or 'io' where it cannot be read
 */
export async function do_swap_page(
  task: Task,
  vma: VmArea,
  vpn: number,
  pte: Pte,
  write: boolean,
): Promise<0 | 'oom' | 'io'> {
  const entry = pte.swap;
  if (entry === undefined) return 0;
  let folio: Folio | undefined;
  try {
    folio = await cached_or_read(task, vma, vpn, entry);
  } catch (error) {
    if (isErrno(error, 'ENOMEM')) return 'oom';
    throw error;
  }
  if (folio === undefined) return 0;
  try {
    using _lock = await folio.lock.lock(task);
    await folio.writeback.wait(task);
    if (!folio.uptodate) return 'io';
    // Somebody else may have brought it in, or unmapped it, while we waited.
    const { vm_mm: mm } = vma;
    if (mm.pgd.pte(vpn) !== pte || pte.swap !== entry || !isIn(folio, entry)) {
      drop_unused(task, folio);
      return 0;
    }
    {
      using _ptl = mm.page_table_lock.lock(task);
      folio.anon ??= new AnonRmap();
      swap_free(task, entry, folio.lock);
      const alone = entry.si.swap_map[entry.slot] === 1 && folio.mapcount === 0;
      const writable = write && vma.writable && alone;
      set_pte(task, mm, vpn, folio, writable, writable);
    }
    if (folio.lru === undefined) mm.memory.inactive.addHead(folio);
    if (drop_unused(task, folio)) fields_of(folio).dirty = true;
    return 0;
  } finally {
    folio_put(folio);
  }
}

function isIn(folio: Folio, { si, slot }: SwapEntry): boolean {
  return folio.swap?.si === si && folio.swap.slot === slot;
}

/** Where only the cache is left to refer to a slot, it is free for others: of what is mapped the page is the only copy then. The page is locked. @returns whether it was */
function drop_unused(task: Task, folio: Folio): boolean {
  const { swap } = folio;
  if (swap === undefined || swap.si.swap_map[swap.slot] !== 1) return false;
  delete_from_swap_cache(task, folio);
  return true;
}

/** The page of a slot with a reference, read or being read; undefined where somebody else has brought it in meanwhile, and the slot is free. @throws ENOMEM */
async function cached_or_read(task: Task, vma: VmArea, vpn: number, entry: SwapEntry): Promise<Folio | undefined> {
  const { cache } = entry.si;
  const known = cache.get(entry.slot);
  if (known !== undefined) {
    folio_get(known);
    return known;
  }
  const folio = await vma_alloc_folio(task, vma.vm_mm.memory, vpn);
  const raced = cache.get(entry.slot);
  if (raced !== undefined) {
    folio_put(folio);
    folio_get(raced);
    return raced;
  }
  if (entry.si.swap_map[entry.slot] === 0) {
    folio_put(folio);
    return undefined;
  }
  const lock = folio.lock.lock(task);
  if (lock instanceof Promise) await lock;
  swap_duplicate(task, entry);
  add_to_swap_cache(folio, entry);
  await swap_read_folio(task, folio, entry);
  if (folio.lock.locked) await folio.lock.waitUnlocked(task);
  if (!folio.uptodate) {
    // The next access reads it again.
    using _lock = await folio.lock.lock(task);
    delete_from_swap_cache(task, folio);
  }
  return folio;
}
