/** Compaction (mm/compaction.c): pages move out of slabs that are nearly empty into those that are nearly full, so that whole slabs go back to the system. */
import type { Task } from '../sched/task.js';
import { Folio, folio_get, folio_put } from './folio.js';
import type { LruList } from './lru.js';
import type { MemoryControl } from './memory.js';
import { type MigrateMode, migrate_one } from './migrate.js';

export interface Compacted {
  readonly moved: number;
  /** Pages that are in use, locked, or of filesystems that could not move them. */
  readonly stayed: number;
}

/** The pages that can be moved at all, by slab (isolate_migratepages): those on the lists of reclaim. */
function by_slab(memory: MemoryControl): Map<number, Folio[]> {
  const slabs = new Map<number, Folio[]>();
  const walk = (list: LruList): void => {
    for (const folio of list.all()) {
      const slab = memory.pool.slabOf(folio.pfn);
      const pages = slabs.get(slab);
      if (pages === undefined) slabs.set(slab, [folio]);
      else pages.push(folio);
    }
  };
  walk(memory.inactive);
  walk(memory.active);
  return slabs;
}

/**
 * Empty the slabs that have fewest pages, as far as the others have room (compact_zone, what writing to /proc/sys/vm/compact_memory starts).
 * @param mode MIGRATE_SYNC also waits for pages that are locked or being written
 */
export async function compact_memory(
  task: Task,
  memory: MemoryControl,
  mode: MigrateMode = 'MIGRATE_SYNC',
): Promise<Compacted> {
  const { pool } = memory;
  const slabs = [...by_slab(memory)].sort(([a], [b]) => pool.usedIn(a) - pool.usedIn(b));
  let moved = 0;
  let stayed = 0;
  const sources = new Set<number>();
  for (const [slab, pages] of slabs) {
    sources.add(slab);
    for (const src of pages) {
      // It may have gone meanwhile.
      if (src.refcount === 0 || src.lru === undefined) continue;
      folio_get(src);
      const pfn = pool.allocOutside(sources);
      if (pfn === undefined) {
        folio_put(src);
        pool.release();
        return { moved, stayed };
      }
      const dst = new Folio(memory, undefined, src.index, pfn);
      if (await migrate_one(task, src, dst, mode)) moved++;
      else stayed++;
      folio_put(dst);
      folio_put(src);
    }
    await task.sched.yield();
  }
  pool.release();
  return { moved, stayed };
}
