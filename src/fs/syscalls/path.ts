/** What system calls share that take a descriptor of a directory and a path (fs/namei.c, user_path_at). */

import type { Awaitable } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW } from '../../uapi/fcntl.js';
import { dput } from '../dcache.js';
import type { Dentry } from '../dentry.js';
import { path_lookup } from '../namei/path-walk.js';
import { LOOKUP_EMPTY, LOOKUP_FOLLOW } from '../namei/walk.js';
import type { Process } from './process.js';

/** Where a relative path begins: a descriptor of a directory, or AT_FDCWD. @throws EBADF; ENOTDIR comes with the walk */
export function startOf(p: Process, dirfd: number): Dentry {
  if (dirfd === AT_FDCWD) return p.fs.cwd;
  const file = p.files.getAny(dirfd);
  return file.f_dentry;
}

/** Run `body` with a dentry, and give it back. */
export function withPath<T>(task: Task, path: Awaitable<Dentry>, body: (dentry: Dentry) => Awaitable<T>): Promise<T> {
  return Promise.resolve(path).then(async (dentry) => {
    try {
      return await body(dentry);
    } finally {
      await dput(task, dentry);
    }
  });
}

/** What a path names, with a reference (user_path_at). @param flags AT_* */
export function user_path_at(task: Task, p: Process, dirfd: number, name: string, flags: number): Promise<Dentry> {
  const follow = (flags & AT_SYMLINK_NOFOLLOW) === 0 ? LOOKUP_FOLLOW : 0;
  const empty = (flags & AT_EMPTY_PATH) !== 0 ? LOOKUP_EMPTY : 0;
  return path_lookup(task, p.fs, startOf(p, dirfd), name, follow | empty);
}
