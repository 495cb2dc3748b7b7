/** Giving clean caches back on demand (fs/drop_caches.c). */
import { invalidate_mapping_pages } from '../mm/invalidate.js';
import type { Task } from '../sched/task.js';
import { shrink_dcache_sb } from './dcache-shrink.js';
import { igrab, iput, prune_icache_sb } from './icache.js';
import type { SuperBlock } from './super-block.js';

export const DROP_PAGECACHE = 1;
export const DROP_SLAB = 2;
/** Inodes between two turns of others. */
const BATCH = 128;

/**
 * Drop clean pages (1), unused dentries and inodes (2), or both (3), as /proc/sys/vm/drop_caches. What is dirty stays: sync first. Takes
 * s_umount shared.
 * @param what DROP_* bits
 */
export async function drop_caches(task: Task, sb: SuperBlock, what: number): Promise<void> {
  using _umount = await sb.s_umount.read(task);
  if ((what & DROP_PAGECACHE) !== 0) await drop_pagecache_sb(task, sb);
  if ((what & DROP_SLAB) === 0) return;
  await shrink_dcache_sb(task, sb);
  // A second look takes those that were used since the first.
  for (let round = 0; round < 2; round++) {
    for (let left = sb.s_inode_lru.count; left > 0; left -= BATCH) {
      await prune_icache_sb(task, sb, Math.min(left, BATCH));
      await task.sched.yield();
    }
  }
}

async function drop_pagecache_sb(task: Task, sb: SuperBlock): Promise<void> {
  for (const inode of [...sb.inodeHash.values()]) {
    const mapping = inode.mappingIfAny;
    if (mapping === undefined || mapping.nrpages === 0 || igrab(task, inode) === undefined) continue;
    await invalidate_mapping_pages(task, mapping, 0, Number.MAX_SAFE_INTEGER);
    await iput(task, inode);
    await task.sched.yield();
  }
}
