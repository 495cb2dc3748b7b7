/** freeze_fs comes in as one of those whom it is called to keep out, and would wait for itself. */

import type { SuperBlock } from '../../../src/fs/super-block.js';
import { sb_end_write, sb_start_intwrite } from '../../../src/fs/super-freeze.js';
import type { Task } from '../../../src/sched/task.js';
import { FIFREEZE, FITHAW } from '../../../src/uapi/ioctl.js';
import { outcome, type Planted } from '../harness.js';

async function freeze_fs(task: Task, sb: SuperBlock): Promise<void> {
  sb_end_write(await sb_start_intwrite(task, sb));
}

export const planted: Planted = {
  bug: 'freeze_fs waits for the thaw',
  changes: { super: { freeze_fs } },
  provoke: async ({ sys }) => {
    const root = await sys.open('/', 0);
    await outcome(sys.ioctl(root, FIFREEZE));
    await outcome(sys.ioctl(root, FITHAW));
  },
  reports: [
    {
      kind: 'double-lock',
      rule: 'lock#not-taken-twice',
      op: 'super_operations.freeze_fs',
      held: ['s_umount (write)', 's_writers (write)', 's_writers (write)', 's_writers (write)'],
      at: 'freeze_fs',
    },
  ],
};
