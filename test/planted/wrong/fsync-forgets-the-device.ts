/** fsync waits until the device has the pages, and lets it keep them in its volatile cache. */

import { BlockDevice } from '../../../src/block/block-device.js';
import type { File } from '../../../src/fs/file.js';
import { file_write_and_wait_range } from '../../../src/mm/filemap-wait.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function fsync(task: Task, file: File, start: number, end: number): Promise<void> {
  return file_write_and_wait_range(task, file, start, end);
}

export const planted: Planted = {
  bug: 'fsync does not flush the cache of the device',
  changes: {
    fops: { fsync },
    device: ({ size, queue, ops }, sched, validator) =>
      new BlockDevice({ name: 'disk', size, readOnly: false }, queue.driver, ops, sched, validator),
  },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await sys.fsync(fd);
  },
  reports: [
    {
      kind: 'promise',
      rule: 'sync#flushes-the-device',
      op: 'file_operations.fsync',
      held: [],
      at: 'fsync',
    },
  ],
};
