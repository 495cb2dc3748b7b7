/**
 * From a page to the page tables that have it (mm/rmap.c), and taking pages out of page tables (zap_pte_range, unmap_mapping_range of
 * mm/memory.c). Every change of an entry happens here or in fault.ts, under the page_table_lock of its mm.
 */
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { type Folio, folio_get, folio_put, PAGE_SIZE } from './folio.js';
import { fields_of } from './folio-fields.js';
import { folio_mark_dirty } from './folio-state.js';
import type { MmStruct } from './mm-struct.js';
import type { Pte } from './page-table.js';
import { type SwapEntry, swap_duplicate, swap_free } from './swap-info.js';
import type { VmArea } from './vma.js';

/** One place where a page is mapped. */
export interface Mapped {
  readonly mm: MmStruct;
  /** The page of the address. */
  readonly vpn: number;
  readonly pte: Pte;
}

/** Where an anonymous page is mapped: it has no file that would lead there (struct anon_vma). */
export class AnonRmap {
  readonly #places: { readonly mm: MmStruct; readonly vpn: number }[] = [];

  add(mm: MmStruct, vpn: number): void {
    this.#places.push({ mm, vpn });
  }

  remove(mm: MmStruct, vpn: number): void {
    const at = this.#places.findIndex((place) => place.mm === mm && place.vpn === vpn);
    if (at >= 0) this.#places.splice(at, 1);
  }

  places(): readonly { readonly mm: MmStruct; readonly vpn: number }[] {
    return [...this.#places];
  }
}

/** The page of the address at which an area maps page `index` of its file, or undefined where it does not (vma_address). */
export function vma_address(vma: VmArea, index: number): number | undefined {
  const vpn = vma.vm_start / PAGE_SIZE + index - vma.vm_pgoff;
  return index >= vma.vm_pgoff && vpn < vma.vm_end / PAGE_SIZE ? vpn : undefined;
}

/** Every place where a page is mapped now (rmap_walk). */
export function rmap_walk(folio: Folio): Mapped[] {
  const found: Mapped[] = [];
  const look = (mm: MmStruct, vpn: number): void => {
    const pte = mm.pgd.pte(vpn);
    if (pte?.folio === folio) found.push({ mm, vpn, pte });
  };
  if (folio.anon !== undefined) for (const { mm, vpn } of folio.anon.places()) look(mm, vpn);
  else {
    for (const vma of folio.mapping?.i_mmap ?? []) {
      const vpn = vma_address(vma, folio.index);
      if (vpn !== undefined) look(vma.vm_mm, vpn);
    }
  }
  return found;
}

/** Map a page: the entry has a reference of its own (set_pte_range). page_table_lock is held. */
export function set_pte(task: Task, mm: MmStruct, vpn: number, folio: Folio, write: boolean, dirty: boolean): void {
  guard_write(task, GUARDED.pte, mm.page_table_lock);
  folio_get(folio);
  folio.mapcount++;
  folio.anon?.add(mm, vpn);
  mm.pgd.setPte(vpn, { folio, bytes: folio.data, write, dirty, swap: undefined, poisoned: false });
}

/** The entry does not map its page any more: the page may be dirty by what was stored through it. page_table_lock is held. */
function drop_folio(task: Task, mm: MmStruct, vpn: number, pte: Pte, folio: Folio): void {
  guard_write(task, GUARDED.pte, mm.page_table_lock);
  if (pte.dirty && folio.anon === undefined) folio_mark_dirty(task, folio, mm.page_table_lock);
  folio.anon?.remove(mm, vpn);
  folio.mapcount--;
  pte.folio = undefined;
  pte.bytes = undefined;
  folio_put(folio);
}

/** Take one entry away, whatever it holds. page_table_lock is held. */
export function zap_pte(task: Task, mm: MmStruct, vpn: number, pte: Pte): void {
  guard_write(task, GUARDED.pte, mm.page_table_lock);
  mm.pgd.clearPte(vpn);
  if (pte.folio !== undefined) drop_folio(task, mm, vpn, pte, pte.folio);
  else if (pte.swap !== undefined) swap_free(task, pte.swap);
}

/**
 * Take away the entries of bytes `start` to before `end` of an address space (zap_page_range_single). Takes page_table_lock.
 * @param even_cows also the private copies of pages
 */
export function zap_page_range(task: Task, mm: MmStruct, start: number, end: number, even_cows = true): void {
  using _ptl = mm.page_table_lock.lock(task);
  const [first, last] = [start / PAGE_SIZE, end / PAGE_SIZE];
  for (const [vpn, pte] of mm.pgd.ptes(first, last)) {
    if (!even_cows && (pte.folio?.anon !== undefined || pte.swap !== undefined)) continue;
    zap_pte(task, mm, vpn, pte);
  }
  for (const [vpn] of mm.pgd.pmds(first, last)) mm.pgd.clearPmd(vpn);
}

/**
 * Take pages `start` to before `end` of a file out of every page table, so that the next access faults (unmap_mapping_pages). Takes
 * page_table_lock of each mm.
 * @param even_cows also private copies: the file has been truncated there
 */
export function unmap_mapping_pages(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
  even_cows: boolean,
): void {
  if (mapping.i_mmap === undefined) return;
  for (const vma of mapping.i_mmap) {
    const pages = (vma.vm_end - vma.vm_start) / PAGE_SIZE;
    const from = Math.max(start - vma.vm_pgoff, 0);
    const to = Math.min(end - vma.vm_pgoff, pages);
    if (from >= to) continue;
    zap_page_range(task, vma.vm_mm, vma.vm_start + from * PAGE_SIZE, vma.vm_start + to * PAGE_SIZE, even_cows);
  }
}

/** Take a locked page of a file out of every page table before it leaves the cache (unmap_mapping_folio). Private copies stay. */
export function unmap_mapping_folio(task: Task, folio: Folio): void {
  for (const { mm, vpn, pte } of rmap_walk(folio)) {
    using _ptl = mm.page_table_lock.lock(task);
    zap_pte(task, mm, vpn, pte);
  }
}

/**
 * Write-protect a page everywhere before it is written out, so that the next store faults and dirties it anew (folio_mkclean). The folio is locked.
 * @returns whether it was written through any of the entries
 */
export function folio_mkclean(task: Task, folio: Folio): boolean {
  let dirty = false;
  for (const { mm, pte } of rmap_walk(folio)) {
    using _ptl = mm.page_table_lock.lock(task);
    if (pte.dirty) dirty = true;
    pte.dirty = false;
    if (folio.anon === undefined) pte.write = false;
  }
  return dirty;
}

/** What an entry says in place of the page that was there. */
export type Instead = { readonly swap: SwapEntry } | 'poisoned' | 'nothing';

/**
 * Take a locked page out of every page table (try_to_unmap). What was stored through an entry dirties the page.
 * @returns whether nothing maps it any more
 */
export function try_to_unmap(task: Task, folio: Folio, instead: Instead): boolean {
  for (const { mm, vpn, pte } of rmap_walk(folio)) {
    using _ptl = mm.page_table_lock.lock(task);
    if (pte.dirty && folio.anon !== undefined) fields_of(folio).dirty = true;
    drop_folio(task, mm, vpn, pte, folio);
    if (instead === 'nothing') mm.pgd.clearPte(vpn);
    else if (instead === 'poisoned') pte.poisoned = true;
    else {
      swap_duplicate(task, instead.swap);
      pte.swap = instead.swap;
    }
    pte.write = false;
    pte.dirty = false;
  }
  return folio.mapcount === 0;
}

/** Point every entry that maps `src` at `dst`, which has its bytes (remove_migration_ptes). Both folios are locked. */
export function remap_to(task: Task, src: Folio, dst: Folio, places: readonly Mapped[]): void {
  for (const { mm, vpn, pte } of places) {
    using _ptl = mm.page_table_lock.lock(task);
    const { write, dirty } = pte;
    if (pte.folio !== src) continue;
    src.anon?.remove(mm, vpn);
    src.mapcount--;
    folio_put(src);
    set_pte(task, mm, vpn, dst, write, dirty);
  }
}
