import type { BlockDevice } from '../../src/block/block-device.js';
import { setattr_copy } from '../../src/fs/attr.js';
import { d_make_root } from '../../src/fs/dcache-alias.js';
import { insert_inode_locked, new_inode, unlock_new_inode } from '../../src/fs/icache.js';
import { type Inode, inode_init } from '../../src/fs/inode.js';
import { inode_init_owner } from '../../src/fs/inode-owner.js';
import {
  kill_litter_super,
  OffsetCtx,
  simple_lookup,
  simple_offset_dir_operations,
  simple_statfs,
} from '../../src/fs/libfs.js';
import { simple_instantiate, simple_link, simple_rename, simple_rmdir, simple_unlink } from '../../src/fs/libfs-dir.js';
import type {
  dentry_operations,
  file_operations,
  inode_operations,
  super_operations,
  xattr_handler,
} from '../../src/fs/operations.js';
import type { FileSystemType } from '../../src/fs/super.js';
import type { SuperBlock } from '../../src/fs/super-block.js';
import { current_time } from '../../src/fs/time.js';
import { GUARDED, guard_read } from '../../src/locking/guarded.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import type { address_space_operations } from '../../src/mm/operations.js';
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

function dirOperations(changes: Changes): inode_operations {
  return {
    lookup: (task, dir, dentry) => {
      guard_read(task, GUARDED.dir_entries, dir.i_rwsem);
      return simple_lookup(task, dir, dentry);
    },
    create: (task, dir, dentry, mode) =>
      simple_instantiate(task, dir, dentry, newInode(task, dir.i_sb, dir, S_IFREG | (mode & 0o7777), changes)),
    mkdir: (task, dir, dentry, mode) =>
      simple_instantiate(task, dir, dentry, newInode(task, dir.i_sb, dir, S_IFDIR | (mode & 0o7777), changes)),
    link: simple_link,
    unlink: simple_unlink,
    rmdir: simple_rmdir,
    rename: simple_rename,
    setattr: (task, dentry, attr) => setattr_copy(task, inodeOf(dentry), attr),
    get_offset_ctx: (_task, inode) => offsetsOf(inode),
    ...changes.dir,
  };
}

/** The filesystem type, with what a wrong one changes. */
export function plainfs(name: string, changes: Changes = {}): FileSystemType {
  return {
    name,
    kill_sb: kill_litter_super,
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
