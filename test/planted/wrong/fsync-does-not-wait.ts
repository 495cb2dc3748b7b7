/** fsync begins to write the pages and does not wait for them. */

import { faultyDevice } from '../../../src/block/faulty-device.js';
import type { File } from '../../../src/fs/file.js';
import { filemap_fdatawrite_range } from '../../../src/mm/filemap-wait.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function fsync(task: Task, file: File, start: number, end: number): Promise<void> {
  return filemap_fdatawrite_range(task, file.f_mapping, start, end);
}

export const planted: Planted = {
  bug: 'fsync returns while the pages are being written',
  changes: {
    fops: { fsync },
    device: (memory, sched, validator) => faultyDevice(memory, () => ({ delay: 20 }), sched, validator),
  },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await sys.fsync(fd);
  },
  reports: [
    {
      kind: 'promise',
      rule: 'sync#waits-for-what-it-writes',
      op: 'file_operations.fsync',
      held: [],
      at: 'fsync',
    },
  ],
};
