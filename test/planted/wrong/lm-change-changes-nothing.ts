/** The server's lm_change tells its client and leaves the lease as it is: who waits for it waits for ever. */

import type { File } from '../../../src/fs/file.js';
import type { FileLock } from '../../../src/fs/locks/file-lock.js';
import { generic_setlease } from '../../../src/fs/locks/leases.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function lm_change(): void {}

function setlease(task: Task, file: File, _arg: number, lease: FileLock): void {
  generic_setlease(task, file, { ...lease, fl_lmops: { lm_change } });
}

export const planted: Planted = {
  bug: 'lm_change does not change the lease',
  changes: { fops: { setlease } },
  provoke: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    const fd = await sys.open('/f', 0);
    await sys.fcntl_lease(fd, 'F_WRLCK');
    await sys.fcntl_lease(fd, 'F_UNLCK');
  },
  reports: [
    {
      kind: 'promise',
      rule: 'lease#changes-as-told',
      op: 'lock_manager_operations.lm_change',
      held: ['flc_lock (write)'],
      at: 'lm_change',
    },
  ],
};
