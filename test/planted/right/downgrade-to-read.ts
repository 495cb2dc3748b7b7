/** An ioctl changes a file under i_rwsem held exclusively, and goes on with it shared, so that readers come in. */

import type { File } from '../../../src/fs/file.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';

const SHARED = 0x7801;
let together = 0;

async function unlocked_ioctl(task: Task, file: File, cmd: number): Promise<number> {
  const { i_rwsem } = file.f_inode;
  if (cmd === SHARED) {
    using _shared = await i_rwsem.read(task);
    return ++together;
  }
  const held = await i_rwsem.write(task);
  using _shared = i_rwsem.downgrade(held);
  for (let i = 0; i < 4; i++) await task.sched.yield();
  return together++;
}

export const unusual: Unusual = {
  what: 'an exclusive lock becomes a shared one',
  changes: { fops: { unlocked_ioctl } },
  use: async ({ sys, other }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const reader = await other.open('/f', O_RDWR);
    const writing = sys.ioctl(fd, 0x7802);
    await other.ioctl(reader, SHARED);
    await writing;
    return together === 2;
  },
};
