/** The callback of a broken lease, called under flc_lock, waits for the client to give the file up. */

import type { File } from '../../../src/fs/file.js';
import type { FileLock } from '../../../src/fs/locks/file-lock.js';
import { generic_setlease } from '../../../src/fs/locks/leases.js';
import type { Task } from '../../../src/sched/task.js';
import { might_sleep } from '../../../src/sched/wait.js';
import { O_CREAT, O_NONBLOCK, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

function lm_break(task: Task): boolean {
  might_sleep(task, 'a callback to the client');
  return false;
}

function setlease(task: Task, file: File, _arg: number, lease: FileLock): void {
  generic_setlease(task, file, { ...lease, fl_lmops: { lm_break } });
}

export const planted: Planted = {
  bug: 'lm_break waits under flc_lock',
  changes: { fops: { setlease } },
  provoke: async ({ sys, other }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    const fd = await sys.open('/f', 0);
    await sys.fcntl_lease(fd, 'F_RDLCK');
    await outcome(other.open('/f', O_RDWR | O_NONBLOCK));
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'lock_manager_operations.lm_break#may-not-block',
      op: 'lock_manager_operations.lm_break',
      held: ['flc_lock (write)'],
      at: 'lm_break',
    },
  ],
};
