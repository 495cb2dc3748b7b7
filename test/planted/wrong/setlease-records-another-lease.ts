/** setlease is asked for a write lease, and records one for reading: others may open the file to read without a word. */

import type { File } from '../../../src/fs/file.js';
import type { FileLock } from '../../../src/fs/locks/file-lock.js';
import { generic_setlease } from '../../../src/fs/locks/leases.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function setlease(task: Task, file: File, arg: number, lease: FileLock): void {
  generic_setlease(task, file, arg === 1 ? { ...lease, type: 'F_RDLCK' } : lease);
}

export const planted: Planted = {
  bug: 'setlease records another lease than it sets',
  changes: { fops: { setlease } },
  provoke: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.fcntl_lease(await sys.open('/f', 0), 'F_WRLCK');
  },
  reports: [
    {
      kind: 'promise',
      rule: 'file_operations.setlease#records-through-generic_setlease',
      op: 'file_operations.setlease',
      held: [],
      at: 'setlease',
    },
  ],
};
