/** fsync returns at once: the pages are as dirty as they were. */
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function fsync(): void {}

export const planted: Planted = {
  bug: 'fsync returns zero and has written nothing',
  changes: { fops: { fsync } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await sys.fsync(fd);
  },
  reports: [
    {
      kind: 'promise',
      rule: 'sync#writes-what-was-dirty',
      op: 'file_operations.fsync',
      held: [],
      at: 'fsync',
    },
  ],
};
