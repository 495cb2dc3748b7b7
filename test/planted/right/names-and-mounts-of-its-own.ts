/** d_dname names files that have names, too; d_automount says for ever that somebody else has mounted it; what release reports is nobody's business. */

import { dput } from '../../../src/fs/dcache.js';
import { DCACHE_NEED_AUTOMOUNT } from '../../../src/fs/dentry.js';
import { lookup_one } from '../../../src/fs/namei/lookup.js';
import { task_end } from '../../../src/locking/context.js';
import { errno } from '../../../src/sched/errno.js';
import { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Unusual } from '../harness.js';

export const unusual: Unusual = {
  what: 'files are named by the filesystem, a mount never comes, and release fails',
  changes: {
    dentry: { d_dname: (_task, dentry) => `plain:[${dentry.d_inode?.i_ino}]`, d_automount: () => undefined },
    fops: {
      release: () => {
        throw errno('EIO');
      },
    },
  },
  use: async ({ machine, sb, sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const named = await sys.fd_path(fd);
    await sys.mkdir('/d', 0o755);
    const task = new Task(machine.sched, machine.validator);
    if (sb.s_root === undefined) return false;
    const dentry = await lookup_one(task, sb.s_root, 'd');
    dentry.d_flags |= DCACHE_NEED_AUTOMOUNT;
    const never = await outcome(sys.stat('/d/e'));
    dentry.d_flags &= ~DCACHE_NEED_AUTOMOUNT;
    await dput(task, dentry);
    task_end(task);
    return /^plain:\[\d+\]$/.test(named) && never === 'ELOOP' && (await outcome(sys.close(fd))) === 'ok';
  },
};
