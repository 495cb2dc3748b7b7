/** kill_sb shuts the superblock down in its own way and does not give s_umount back. */
import { shrink_dcache_for_umount } from '../../../src/fs/dcache-shrink.js';
import { evict_inodes } from '../../../src/fs/icache.js';
import { SB_ACTIVE, type SuperBlock, sb_set_flags } from '../../../src/fs/super-block.js';
import type { Task } from '../../../src/sched/task.js';
import type { Planted } from '../harness.js';

async function kill_sb(task: Task, sb: SuperBlock): Promise<number> {
  await shrink_dcache_for_umount(task, sb);
  sb_set_flags(task, sb, sb.s_flags & ~SB_ACTIVE);
  return (await evict_inodes(task, sb)).length;
}

export const planted: Planted = {
  bug: 'kill_sb returns with s_umount held',
  changes: { type: { kill_sb } },
  provoke: ({ sys }) => sys.mkdir('/d', 0o755),
  reports: [
    {
      kind: 'not-released',
      rule: 'file_system_type.kill_sb/s_umount/sb',
      op: 'file_system_type.kill_sb',
      held: ['s_umount (write)'],
      at: 'kill_sb',
    },
  ],
};
