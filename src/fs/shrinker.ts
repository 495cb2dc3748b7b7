/** Dentries and inodes that nobody uses go when memory is short (super_cache_count, super_cache_scan of fs/super.c). */
import { GUARDED, guard_read } from '../locking/guarded.js';
import type { Task } from '../sched/task.js';
import { prune_dcache_sb } from './dcache.js';
import { prune_icache_sb } from './icache.js';
import type { SuperBlock } from './super-block.js';

/**
 * Let reclaim ask a superblock for its unused dentries and inodes, each kind for its share. It does nothing while the filesystem is being mounted, frozen or unmounted.
 * @returns what ends that
 */
export function registerSuperShrinker(sb: SuperBlock): () => void {
  return sb.memory.registerShrinker({
    count: () => sb.s_dentry_lru.count + sb.s_inode_lru.count,
    scan: async (task, nr) => {
      // Reclaim may come from within anything: it takes what it can get without a wait.
      using umount = sb.s_umount.tryRead(task);
      if (umount === undefined) return 0;
      return await scan(task, sb, nr);
    },
  });
}

/** Dentries before inodes, because they hold them. */
async function scan(task: Task, sb: SuperBlock, nr: number): Promise<number> {
  guard_read(task, GUARDED.s_inodes, sb.s_umount);
  const dentries = sb.s_dentry_lru.count;
  const total = dentries + sb.s_inode_lru.count;
  if (total === 0) return 0;
  const ofDentries = Math.ceil((nr * dentries) / total);
  const freed = await prune_dcache_sb(task, sb, ofDentries);
  return freed + (await prune_icache_sb(task, sb, nr - ofDentries + freed));
}
