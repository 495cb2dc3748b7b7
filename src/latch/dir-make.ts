/** Making names of what is new: files, directories, symlinks, and files that have no name yet. Called with i_rwsem held as the contract says. */
import { d_in_lookup, d_rehash } from '../fs/dcache.js';
import { d_instantiate } from '../fs/dcache-alias.js';
import type { Dentry } from '../fs/dentry.js';
import { type File, FMODE_CREATED } from '../fs/file.js';
import { unlock_new_inode } from '../fs/icache.js';
import { type Inode, i_size_init, inode_init, inode_links } from '../fs/inode.js';
import { finish_open } from '../fs/open.js';
import { O_CREAT } from '../fs/open-flags.js';
import { posix_acl_create } from '../fs/posix-acl-ops.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { type Awaitable, andThen, inTurn, orElse } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { acl_credits, init_acl } from './acl.js';
import { withOwners } from './charge.js';
import { changed, dirty, dtype, isDir, namesToChange } from './dir-change.js';
import { lookup } from './dir-lookup.js';
import { discard, nameless, newInode } from './dir-new.js';
import { AREA_SIZE } from './format/inode.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { writeLongLink } from './link-ops.js';

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_ISGID = 0o2000;

type Fill = (handle: Handle, inode: LatchInode) => Awaitable<void>;

/** Make an inode and give it its name, in one transaction; if that fails it goes again. @param fill what is particular to its type */
function make(task: Task, dir: Inode, dentry: Dentry, mode: number, rdev: number, fill?: Fill): Awaitable<void> {
  const info = infoOf(dir.i_sb);
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  return andThen(posix_acl_create(task, dir, mode), (lists) => {
    let fresh: LatchInode | undefined;
    const named = (handle: Handle, made: LatchInode): Awaitable<void> =>
      inTurn(
        () => fill?.(handle, made),
        () => init_acl(task, handle, made, lists),
        () => namesToChange(task, dir).add(task, handle, dentry.d_name, made.i_ino, dtype(made)),
      );
    const body = (handle: Handle): Awaitable<LatchInode> =>
      andThen(newInode(task, handle, dir, lists.mode, rdev), (made) => {
        fresh = made;
        const done = orElse(
          () => named(handle, made),
          (error) => nameless(task, handle, made, error),
        );
        return andThen(done, () => {
          if (isDir(made)) inode_links(task, dir).i_nlink++;
          return andThen(changed(task, handle, made), () => andThen(dirty(task, handle, dir), () => made));
        });
      });
    return andThen(
      orElse(
        () => withOwners(task, latchInode(dir), () => with_handle(task, info, body, CREDITS + acl_credits(lists))),
        (error) => discard(task, fresh, error),
      ),
      (inode) => {
        unlock_new_inode(task, inode);
        d_instantiate(task, dentry, inode);
        d_rehash(task, dentry);
      },
    );
  });
}

export function mknod(task: Task, dir: Inode, dentry: Dentry, mode: number, rdev: number): Awaitable<void> {
  return make(task, dir, dentry, mode, rdev);
}

export function create(task: Task, dir: Inode, dentry: Dentry, mode: number): Awaitable<void> {
  return make(task, dir, dentry, mode, 0);
}

/** Look up where nobody has yet; make and open in one step where there is nothing (gfs2_atomic_open). @throws ENOENT without O_CREAT */
export function atomic_open(
  task: Task,
  dir: Inode,
  dentry: Dentry,
  file: File,
  flags: number,
  mode: number,
): Awaitable<Dentry | undefined> {
  return andThen(d_in_lookup(dentry) ? lookup(task, dir, dentry) : undefined, (other) => {
    if (!(other ?? dentry).isNegative) return other;
    if ((flags & O_CREAT) === 0) throw errno('ENOENT');
    return andThen(make(task, dir, dentry, mode, 0), () => {
      file.f_mode |= FMODE_CREATED;
      return andThen(finish_open(task, file), () => undefined);
    });
  });
}

export function mkdir(task: Task, dir: Inode, dentry: Dentry, mode: number): Awaitable<void> {
  return make(task, dir, dentry, S_IFDIR | (mode & 0o7777), 0, (_handle, inode) => {
    inode_init(inode).i_nlink = 2;
    inode.parent = dir.i_ino;
  });
}

export function symlink(task: Task, dir: Inode, dentry: Dentry, target: string): Awaitable<void> {
  return make(task, dir, dentry, S_IFLNK | 0o777, 0, (handle, inode) => {
    inode_init(inode).i_mode &= ~S_ISGID;
    inode.i_link = target;
    i_size_init(inode, target.length);
    return target.length > AREA_SIZE ? writeLongLink(task, handle, inode, target) : undefined;
  });
}

/** A file without a name, which is on the orphan list until it gets one. @throws ENOSPC EDQUOT EIO */
export async function tmpfile(task: Task, dir: Inode, file: File, mode: number): Promise<void> {
  const lists = await posix_acl_create(task, dir, S_IFREG | (mode & 0o7777));
  let fresh: LatchInode | undefined;
  const body = async (handle: Handle): Promise<LatchInode> => {
    const made = await newInode(task, handle, dir, lists.mode, 0);
    fresh = made;
    inode_init(made).i_nlink = 0;
    await infoOf(dir.i_sb).orphans.add(task, handle, made);
    await init_acl(task, handle, made, lists);
    await changed(task, handle, made);
    return made;
  };
  const inode = await orElse(
    () =>
      withOwners(task, latchInode(dir), () => with_handle(task, infoOf(dir.i_sb), body, CREDITS + acl_credits(lists))),
    (error) => discard(task, fresh, error),
  );
  unlock_new_inode(task, inode);
  d_instantiate(task, file.f_dentry, inode);
}
