/** Directories of latch with FS_CASEFOLD_FL: their entries lie where the hash of the folded name says (fs/ext4/namei.c, under CONFIG_UNICODE). */
import { generic_ci_dentry_ops, IS_CASEFOLDED } from '../fs/casefold.js';
import { d_drop } from '../fs/dcache.js';
import type { Dentry } from '../fs/dentry.js';
import type { Inode } from '../fs/inode.js';
import type { Task } from '../sched/task.js';

/** Where it is such a directory that has come into memory under a name, its own names are hashed and compared as it says. */
export function adoptCasefold(dentry: Dentry, inode: Inode): void {
  if (!IS_CASEFOLDED(inode)) return;
  dentry.d_op = generic_ci_dentry_ops;
}

/** An empty directory compares its names otherwise than before: what is cached of it, that there are no such names, is void. With i_rwsem held exclusively. */
export function casefoldChanged(task: Task, inode: Inode): void {
  for (const dentry of inode.i_dentry) {
    for (const child of [...(dentry.d_children?.values() ?? [])]) d_drop(task, child);
    dentry.d_op = generic_ci_dentry_ops;
  }
}
