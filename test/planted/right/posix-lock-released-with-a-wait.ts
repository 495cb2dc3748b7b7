/** What a filesystem keeps with a POSIX lock is given up with a wait: unlike that of a lease it may be. getattr locks the file that it looks at, which its caller must not have done. */

import type { Dentry } from '../../../src/fs/dentry.js';
import type { File } from '../../../src/fs/file.js';
import type { FileLock, LockOutcome } from '../../../src/fs/locks/file-lock.js';
import { posix_lock_file } from '../../../src/fs/locks/posix-locks.js';
import { generic_fillattr } from '../../../src/fs/stat.js';
import type { Kstat } from '../../../src/fs/types.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';
import { inodeOf } from '../plain-file.js';

const done = { released: 0, looked: 0 };

async function fl_release_private(task: Task): Promise<void> {
  await task.sched.yield();
  done.released++;
}

async function lock(task: Task, file: File, _cmd: number, request: FileLock): Promise<LockOutcome | undefined> {
  return await posix_lock_file(task, file, { ...request, fl_ops: { fl_release_private } });
}

async function getattr(task: Task, dentry: Dentry): Promise<Kstat> {
  const inode = inodeOf(dentry);
  using _shared = await inode.i_rwsem.read(task);
  done.looked++;
  return generic_fillattr(inode);
}

export const unusual: Unusual = {
  what: 'fl_release_private waits, and getattr locks the file itself',
  changes: { fops: { lock }, file: { getattr } },
  use: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.fcntl_lock(fd, { l_type: 'F_WRLCK', l_start: 0, l_len: 10 });
    await sys.fcntl_lock(fd, { l_type: 'F_UNLCK', l_start: 0, l_len: 10 });
    await sys.fstat(fd);
    return done.released > 0 && done.looked > 0;
  },
};
