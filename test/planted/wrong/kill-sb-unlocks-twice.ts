/** kill_sb gives s_umount back, which kill_litter_super has done. */
import { kill_litter_super } from '../../../src/fs/libfs.js';
import type { SuperBlock } from '../../../src/fs/super-block.js';
import type { Task } from '../../../src/sched/task.js';
import type { Planted } from '../harness.js';

async function kill_sb(task: Task, sb: SuperBlock): Promise<number> {
  const { writer } = sb.s_umount;
  const busy = await kill_litter_super(task, sb);
  writer?.release();
  return busy;
}

export const planted: Planted = {
  bug: 'kill_sb unlocks s_umount twice',
  changes: { type: { kill_sb } },
  provoke: ({ sys }) => sys.mkdir('/d', 0o755),
  reports: [
    {
      kind: 'unlock-not-owner',
      rule: 'lock#released-once-by-its-owner',
      op: 'file_system_type.kill_sb',
      held: [],
      at: 'kill_sb',
    },
  ],
};
