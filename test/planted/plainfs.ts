import type { BlockDevice } from '../../src/block/block-device.js';
import { setattr_copy } from '../../src/fs/attr.js';
import { dget, dput } from '../../src/fs/dcache.js';
import { d_add, d_instantiate, d_make_root } from '../../src/fs/dcache-alias.js';
import type { Dentry } from '../../src/fs/dentry.js';
import { ihold, insert_inode_locked, new_inode, unlock_new_inode } from '../../src/fs/icache.js';
import { type Inode, inode_init } from '../../src/fs/inode.js';
import { inode_init_owner } from '../../src/fs/inode-owner.js';
import {
  OffsetCtx,
  simple_offset_add,
  simple_offset_dir_operations,
  simple_offset_remove,
  simple_statfs,
} from '../../src/fs/libfs.js';
import { drop_nlink, inc_nlink } from '../../src/fs/nlink.js';
import type {
  dentry_operations,
  file_operations,
  inode_operations,
  super_operations,
  xattr_handler,
} from '../../src/fs/operations.js';
import type { FileSystemType } from '../../src/fs/super.js';
import type { SuperBlock } from '../../src/fs/super-block.js';
import { current_time, dir_changed, inode_set_ctime_current } from '../../src/fs/time.js';
import { GUARDED, guard_read, guard_write } from '../../src/locking/guarded.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import type { address_space_operations } from '../../src/mm/operations.js';
import type { Awaitable } from '../../src/sched/awaitable.js';
import { errno } from '../../src/sched/errno.js';
import type { Scheduler } from '../../src/sched/scheduler.js';
import type { Task } from '../../src/sched/task.js';
import type { Validator } from '../../src/sched/validator.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../../src/uapi/stat.js';
import { FILE_PAGES, inodeOf, plain_aops, plain_file_inode_operations, plain_fops } from './plain-file.js';

/** What a wrong filesystem does in its own way. */
export interface Changes {
  readonly dir?: inode_operations;
  readonly file?: inode_operations;
  readonly fops?: file_operations;
  /** Of directories. */
  readonly dirFops?: file_operations;
  readonly aops?: address_space_operations;
  readonly super?: super_operations;
  readonly dentry?: dentry_operations;
  readonly xattr?: readonly xattr_handler[];
  readonly type?: Partial<FileSystemType>;
  /** Instead of memory, which is done at once and forgets with the process: another device over it. */
  device?(memory: BlockDevice, sched: Scheduler, validator: Validator): BlockDevice;
}

const offsets = new WeakMap<Inode, OffsetCtx>();

function offsetsOf(dir: Inode): OffsetCtx {
  const known = offsets.get(dir);
  if (known !== undefined) return known;
  const fresh = new OffsetCtx();
  offsets.set(dir, fresh);
  return fresh;
}

/** A new inode, in the hash. */
function newInode(task: Task, sb: SuperBlock, dir: Inode | undefined, mode: number, changes: Changes): Inode {
  const inode = new_inode(task, sb);
  inode.i_ino = sb.inodeHash.size + 1;
  while (sb.inodeHash.has(inode.i_ino)) inode.i_ino++;
  inode_init_owner(task, inode, dir, mode);
  inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = current_time(inode);
  if ((mode & S_IFMT) === S_IFDIR) {
    inode_init(inode).i_nlink = 2;
    inode.i_op = dirOperations(changes);
    inode.i_fop = { ...simple_offset_dir_operations, ...changes.dirFops };
  } else {
    inode.i_op = { ...plain_file_inode_operations, ...changes.file };
    inode.i_fop = { ...plain_fops, ...changes.fops };
    inode.a_ops = { ...plain_aops, ...changes.aops };
  }
  insert_inode_locked(task, inode);
  unlock_new_inode(task, inode);
  return inode;
}

/** A name for an inode, which stays in the dcache until it is removed. */
function addName(task: Task, dir: Inode, dentry: Dentry, inode: Inode): void {
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  d_instantiate(task, dentry, inode);
  dget(dentry);
  simple_offset_add(offsetsOf(dir), dentry);
  dir_changed(dir);
}

function removeName(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  const inode = inodeOf(dentry);
  drop_nlink(task, inode);
  inode_set_ctime_current(inode);
  simple_offset_remove(offsetsOf(dir), dentry);
  dir_changed(dir);
  return dput(task, dentry);
}

function rmdir(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = inodeOf(dentry);
  if (offsetsOf(inode).entries.size > 0) throw errno('ENOTEMPTY');
  drop_nlink(task, inode);
  drop_nlink(task, dir);
  return removeName(task, dir, dentry);
}

async function rename(
  task: Task,
  oldDir: Inode,
  old: Dentry,
  newDir: Inode,
  dentry: Dentry,
  flags: number,
): Promise<void> {
  if (flags > 1) throw errno('EINVAL');
  const inode = inodeOf(old);
  const isDir = (inode.i_mode & S_IFMT) === S_IFDIR;
  guard_write(task, GUARDED.dir_entries, oldDir.i_rwsem);
  if (!dentry.isNegative) await (isDir ? rmdir(task, newDir, dentry) : removeName(task, newDir, dentry));
  simple_offset_remove(offsetsOf(oldDir), old);
  simple_offset_add(offsetsOf(newDir), old);
  if (isDir && oldDir !== newDir) {
    drop_nlink(task, oldDir);
    inc_nlink(task, newDir);
  }
  dir_changed(oldDir);
  dir_changed(newDir);
}

function dirOperations(changes: Changes): inode_operations {
  return {
    lookup: (task, dir, dentry) => {
      guard_read(task, GUARDED.dir_entries, dir.i_rwsem);
      d_add(task, dentry, undefined);
      return undefined;
    },
    create: (task, dir, dentry, mode) =>
      addName(task, dir, dentry, newInode(task, dir.i_sb, dir, S_IFREG | (mode & 0o7777), changes)),
    mkdir: (task, dir, dentry, mode) => {
      inc_nlink(task, dir);
      addName(task, dir, dentry, newInode(task, dir.i_sb, dir, S_IFDIR | (mode & 0o7777), changes));
    },
    link: (task, old, dir, dentry) => {
      const inode = inodeOf(old);
      inc_nlink(task, inode);
      ihold(inode);
      addName(task, dir, dentry, inode);
    },
    unlink: removeName,
    rmdir,
    rename,
    setattr: (task, dentry, attr) => setattr_copy(task, inodeOf(dentry), attr),
    get_offset_ctx: (_task, inode) => offsetsOf(inode),
    ...changes.dir,
  };
}

/** The filesystem type, with what a wrong one changes. */
export function plainfs(name: string, changes: Changes = {}): FileSystemType {
  return {
    name,
    ...changes.type,
    fill_super: (task, sb) => {
      sb.s_magic = 0x70_6c_61_6e;
      sb.s_maxbytes = FILE_PAGES * PAGE_SIZE;
      // It can be frozen, so that who writes to it comes in.
      sb.s_op = { statfs: simple_statfs, freeze_fs: () => undefined, ...changes.super };
      sb.s_d_op = { ...changes.dentry };
      sb.s_xattr = changes.xattr ?? [];
      sb.s_root = d_make_root(task, newInode(task, sb, undefined, S_IFDIR | 0o755, changes));
    },
  };
}
