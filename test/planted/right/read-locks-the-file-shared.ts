/** read_iter locks the file shared, so that a read sees none or all of a write (xfs); the access time is updated with the lock held. */

import type { File } from '../../../src/fs/file.js';
import type { Inode } from '../../../src/fs/inode.js';
import { generic_file_read_iter } from '../../../src/fs/read-write.js';
import type { IovIter } from '../../../src/mm/iov-iter.js';
import type { Kiocb } from '../../../src/mm/operations.js';
import type { Task } from '../../../src/sched/task.js';
import type { Timespec } from '../../../src/sched/time.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';

let updated = 0;

async function read_iter(task: Task, iocb: Kiocb, iter: IovIter): Promise<number> {
  using _shared = await (iocb.ki_filp as File).f_inode.i_rwsem.read(task);
  return Number(await generic_file_read_iter(task, iocb, iter));
}

function update_time(_task: Task, inode: Inode, now: Timespec): void {
  inode.i_atime = now;
  updated++;
}

export const unusual: Unusual = {
  what: 'the access time moves under i_rwsem, which read_iter has taken',
  changes: { fops: { read_iter }, file: { update_time } },
  use: async ({ sys, sb }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    const inode = sb.inodeHash.get((await sys.fstat(fd)).ino);
    if (inode !== undefined) inode.i_atime = { sec: 1, nsec: 0 };
    await sys.pread(fd, 1, 0);
    return updated > 0;
  },
};
