/** Names that come to what is there, and go. Called with i_rwsem held as the contract says. */
import { d_instantiate } from '../fs/dcache-alias.js';
import type { Dentry } from '../fs/dentry.js';
import { type Inode, inode_links } from '../fs/inode.js';
import { inode_set_ctime_current } from '../fs/time.js';
import { type Awaitable, andThen, inTurn } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { changed, checkEmpty, dirty, dropped, dtype, mayBeIn, namesToChange } from './dir-change.js';
import { infoOf, with_handle } from './info.js';
import { latchInode } from './inode.js';
import type { Handle } from './journal/types.js';

export function link(task: Task, old: Dentry, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = old.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  if (inode.i_nlink >= 65000) throw errno('EMLINK');
  mayBeIn(dir, inode);
  const info = infoOf(dir.i_sb);
  const done = with_handle(task, info, (handle) =>
    inTurn(
      () => namesToChange(task, dir).add(task, handle, dentry.d_name, inode.i_ino, dtype(inode)),
      () => info.orphans.del(task, handle, latchInode(inode)),
      () => {
        inode_links(task, inode).i_nlink++;
        inode_set_ctime_current(inode);
        return changed(task, handle, inode);
      },
      () => dirty(task, handle, dir),
    ),
  );
  return andThen(done, () => {
    inode.i_count++;
    d_instantiate(task, dentry, inode);
  });
}

export function unlink(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return with_handle(task, infoOf(dir.i_sb), (handle) =>
    inTurn(
      () => namesToChange(task, dir).remove(task, handle, dentry.d_name),
      () => {
        inode_links(task, inode).i_nlink--;
        return dropped(task, handle, inode);
      },
      () => dirty(task, handle, dir),
    ),
  );
}

export function rmdir(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  const gone = (handle: Handle): Awaitable<void> =>
    inTurn(
      () => namesToChange(task, dir).remove(task, handle, dentry.d_name),
      () => {
        inode_links(task, inode).i_nlink = 0;
        inode_links(task, dir).i_nlink--;
        return dropped(task, handle, inode);
      },
      () => dirty(task, handle, dir),
    );
  return andThen(checkEmpty(task, inode), () => with_handle(task, infoOf(dir.i_sb), gone));
}
