/** fsync writes the pages and waits for them, and looks at no error: data that a flusher could not write are lost without a word. */

import { failNth, faultyDevice } from '../../../src/block/faulty-device.js';
import type { File } from '../../../src/fs/file.js';
import { filemap_fdatawait_range, filemap_fdatawrite_range } from '../../../src/mm/filemap-wait.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

async function fsync(task: Task, file: File, start: number, end: number): Promise<void> {
  await outcome(filemap_fdatawrite_range(task, file.f_mapping, start, end));
  await outcome(filemap_fdatawait_range(task, file.f_mapping, start, end));
}

export const planted: Planted = {
  bug: 'fsync says nothing of an error that was there before it was called',
  changes: {
    fops: { fsync },
    device: (memory, sched, validator) => faultyDevice(memory, failNth('write', 1), sched, validator),
  },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    // What fails meanwhile may have failed behind it.
    await sys.fsync(fd);
    await sys.fsync(fd);
  },
  reports: [
    {
      kind: 'promise',
      rule: 'sync#tells-of-errors',
      op: 'file_operations.fsync',
      held: [],
      at: 'fsync',
    },
  ],
};
