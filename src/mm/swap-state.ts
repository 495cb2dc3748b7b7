/** The pages that stand for slots of swap while they are in memory (mm/swap_state.c). */
import type { Task } from '../sched/task.js';
import { type Folio, folio_get, folio_put } from './folio.js';
import { fields_of } from './folio-fields.js';
import { get_swap_page, type SwapEntry, swap_free } from './swap-info.js';

/** Give a locked anonymous page a slot (add_to_swap). @returns false where swap is full, or there is none */
export function add_to_swap(task: Task, folio: Folio): boolean {
  if (folio.swap !== undefined) return true;
  const entry = get_swap_page(task, folio.memory.swap);
  if (entry === undefined) return false;
  add_to_swap_cache(folio, entry);
  // Nothing of it is in the slot yet.
  fields_of(folio).dirty = true;
  return true;
}

/** The page stands for its slot until it leaves memory: the cache has a reference, and one count of the slot. */
export function add_to_swap_cache(folio: Folio, entry: SwapEntry): void {
  folio.swap = entry;
  entry.si.cache.set(entry.slot, folio);
  folio_get(folio);
}

/** The locked page and its slot are parted (delete_from_swap_cache): the slot is free when no entry refers to it. */
export function delete_from_swap_cache(task: Task, folio: Folio): void {
  const entry = folio.swap;
  if (entry === undefined) return;
  folio.swap = undefined;
  entry.si.cache.delete(entry.slot);
  swap_free(task, entry, folio.lock);
  folio_put(folio);
}
