/** The operations that a filesystem gives to the VFS, spelt as the document spells them (include/linux/fs.h, dcache.h, xattr.h). */

import type { IovIter } from '../mm/iov-iter.js';
import type { MmStruct } from '../mm/mm-struct.js';
import type { IOCB_QUEUED, Kiocb, WritebackControl } from '../mm/operations.js';
import type { VmArea } from '../mm/vma.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { Timespec } from '../sched/time.js';
import type { Dentry } from './dentry.js';
import type { File } from './file.js';
import type { Inode } from './inode.js';
import type { OffsetCtx } from './libfs.js';
import type { FileLock, LockOutcome } from './locks/file-lock.js';
import type { VfsMount } from './namespace.js';
import type { PosixAcl } from './posix-acl-types.js';
import type { QuotaType } from './quota/types.js';
import type { SuperBlock } from './super-block.js';
import type { DirContext, FiemapInfo, FileAttr, Iattr, Kstat, Kstatfs } from './types.js';

/** Locks: the section inode_operations of the contract. Every one may block, but permission with `rcu`. */
export interface inode_operations {
  /** Fill in `dentry` for the name it carries in `dir` (d_splice_alias or d_add; negative where there is none). @returns another dentry to use instead, or undefined. */
  lookup?(task: Task, dir: Inode, dentry: Dentry, flags: number): Awaitable<Dentry | undefined>;
  create?(task: Task, dir: Inode, dentry: Dentry, mode: number, excl: boolean): Awaitable<void>;
  link?(task: Task, old: Dentry, dir: Inode, dentry: Dentry): Awaitable<void>;
  unlink?(task: Task, dir: Inode, dentry: Dentry): Awaitable<void>;
  symlink?(task: Task, dir: Inode, dentry: Dentry, target: string): Awaitable<void>;
  mkdir?(task: Task, dir: Inode, dentry: Dentry, mode: number): Awaitable<void>;
  rmdir?(task: Task, dir: Inode, dentry: Dentry): Awaitable<void>;
  mknod?(task: Task, dir: Inode, dentry: Dentry, mode: number, rdev: number): Awaitable<void>;
  /** `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT. */
  rename?(task: Task, oldDir: Inode, old: Dentry, newDir: Inode, dentry: Dentry, flags: number): Awaitable<void>;
  readlink?(task: Task, dentry: Dentry): Awaitable<string>;
  /**
   * `dentry` is undefined in an RCU walk: then it answers at once, or throws ECHILD.
   * @returns the target of a symlink, as bytes in latin1; of a magic link the place itself where the walk goes on, with a reference (nd_jump_link): then there is
   * a readlink.
   */
  get_link?(task: Task, dentry: Dentry | undefined, inode: Inode): Awaitable<string | Dentry>;
  /** `mask`: MAY_READ, MAY_WRITE, MAY_EXEC, MAY_NOT_BLOCK. Throws EACCES; ECHILD where it would block in rcu-walk. */
  permission?(task: Task, inode: Inode, mask: number): Awaitable<void>;
  get_inode_acl?(task: Task, inode: Inode, type: AclType, rcu: boolean): Awaitable<PosixAcl | undefined>;
  get_acl?(task: Task, dentry: Dentry, type: AclType): Awaitable<PosixAcl | undefined>;
  set_acl?(task: Task, dentry: Dentry, acl: PosixAcl | undefined, type: AclType): Awaitable<void>;
  setattr?(task: Task, dentry: Dentry, attr: Iattr): Awaitable<void>;
  getattr?(task: Task, dentry: Dentry, requestMask: number, queryFlags: number): Awaitable<Kstat>;
  /** @returns every name in the user's order, NUL-free, in latin1. */
  listxattr?(task: Task, dentry: Dentry): Awaitable<string[]>;
  fiemap?(task: Task, inode: Inode, info: FiemapInfo, start: number, length: number): Awaitable<void>;
  /** `flags`: S_ATIME, S_MTIME, S_CTIME, S_VERSION. */
  update_time?(task: Task, inode: Inode, now: Timespec, flags: number): Awaitable<void>;
  /**
   * Look up `dentry` where it is in lookup, with O_CREAT make the file where it is not there, and open it (finish_open).
   * @returns where it has not opened it: the dentry to be opened, with a reference if it is another one; undefined for `dentry` (finish_no_open)
   * @throws ENOENT
   */
  atomic_open?(
    task: Task,
    dir: Inode,
    dentry: Dentry,
    file: File,
    openFlag: number,
    createMode: number,
  ): Awaitable<Dentry | undefined>;
  tmpfile?(task: Task, dir: Inode, file: File, mode: number): Awaitable<void>;
  /** The file has another size, i_size, and its pages behind that are gone: free their blocks. */
  truncate?(task: Task, inode: Inode): Awaitable<void>;
  fileattr_set?(task: Task, dentry: Dentry, attr: FileAttr): Awaitable<void>;
  fileattr_get?(task: Task, dentry: Dentry): Awaitable<FileAttr>;
  get_offset_ctx?(task: Task, inode: Inode): OffsetCtx;
}

export type AclType = 'access' | 'default';

/** Locks: the section file_operations. All may block. */
export interface file_operations {
  llseek?(task: Task, file: File, offset: number, whence: number): Awaitable<number>;
  /** For files that have no read_iter. @returns bytes, at most `count`, that belong to nobody else from now on */
  read?(task: Task, file: File, count: number, pos: number): Awaitable<Buffer>;
  /** For files that have no write_iter. @returns bytes taken */
  write?(task: Task, file: File, bytes: Buffer, pos: number): Awaitable<number>;
  /** @returns bytes; IOCB_QUEUED for a kiocb with ki_complete, which iopoll is asked about then. */
  read_iter?(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED>;
  write_iter?(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number>;
  /** Look whether I/O that was queued has completed. @param spin wait until some has, where any is under way @returns how many completions have run */
  iopoll?(task: Task, iocb: Kiocb, spin: boolean): Awaitable<number>;
  /** Emit entries from ctx.pos on until ctx.actor refuses one. */
  iterate_shared?(task: Task, file: File, ctx: DirContext): Awaitable<void>;
  poll?(task: Task, file: File): Awaitable<number>;
  unlocked_ioctl?(task: Task, file: File, cmd: number, arg: Buffer): Awaitable<Buffer | number>;
  compat_ioctl?(task: Task, file: File, cmd: number, arg: Buffer): Awaitable<Buffer | number>;
  /** Set vma.vm_ops. mmap_lock of its address space is held exclusively. */
  mmap?(task: Task, file: File, vma: VmArea): Awaitable<void>;
  open?(task: Task, inode: Inode, file: File): Awaitable<void>;
  flush?(task: Task, file: File): Awaitable<void>;
  release?(task: Task, inode: Inode, file: File): Awaitable<void>;
  /** Bytes `start` to `end` inclusive. */
  fsync?(task: Task, file: File, start: number, end: number, datasync: boolean): Awaitable<void>;
  fasync?(task: Task, fd: number, file: File, on: boolean): Awaitable<void>;
  /** POSIX locks: F_GETLK turns `lock` into what is in its way, or into F_UNLCK; F_SETLK, F_SETLKW; F_CANCELLK gives up one that was deferred. */
  lock?(task: Task, file: File, cmd: number, lock: FileLock): Awaitable<LockOutcome | undefined>;
  /**
   * Where a mapping of `length` bytes from page `pgoff` of the file on goes in `mm`, the address space of who asks, whose mmap_lock is held exclusively.
   * @param addr a hint @param flags MAP_*
   */
  get_unmapped_area?(
    task: Task,
    file: File,
    mm: MmStruct,
    addr: number,
    length: number,
    pgoff: number,
    flags: number,
  ): Awaitable<number>;
  /** NOMMU_MAP_* of mm/nommu.ts: how it can be mapped without translation of addresses. Without it a file can be copied. */
  mmap_capabilities?(task: Task, file: File): Awaitable<number>;
  check_flags?(flags: number): void;
  flock?(task: Task, file: File, cmd: number, lock: FileLock): Awaitable<void>;
  splice_write?(task: Task, pipe: object, file: File, pos: number, length: number, flags: number): Awaitable<number>;
  splice_read?(task: Task, file: File, pos: number, pipe: object, length: number, flags: number): Awaitable<number>;
  setlease?(task: Task, file: File, arg: number, lease: FileLock): Awaitable<void>;
  /** `mode`: FALLOC_FL_*. */
  fallocate?(task: Task, file: File, mode: number, offset: number, length: number): Awaitable<void>;
  show_fdinfo?(task: Task, file: File): string;
  /** @returns bytes copied, which may be fewer than asked for. */
  copy_file_range?(
    task: Task,
    fileIn: File,
    posIn: number,
    fileOut: File,
    posOut: number,
    length: number,
    flags: number,
  ): Awaitable<number>;
  remap_file_range?(
    task: Task,
    fileIn: File,
    posIn: number,
    fileOut: File,
    posOut: number,
    length: number,
    flags: number,
  ): Awaitable<number>;
  fadvise?(task: Task, file: File, offset: number, length: number, advice: number): Awaitable<void>;
}

/** Locks: the section super_operations. */
export interface super_operations {
  /** @returns a fresh, empty inode of the filesystem (its own subclass of Inode, if it has one). May not touch the device. */
  alloc_inode?(sb: SuperBlock): Inode;
  /** Called from an RCU callback: may not block. */
  free_inode?(inode: Inode): void;
  destroy_inode?(inode: Inode): void;
  dirty_inode?(task: Task, inode: Inode, flags: number): Awaitable<void>;
  write_inode?(task: Task, inode: Inode, wbc: WritebackControl): Awaitable<void>;
  /** With i_lock held; may not block. @returns true to evict now rather than to cache. */
  drop_inode?(task: Task, inode: Inode): boolean;
  /** The last reference is gone: truncate_inode_pages_final, free the blocks if i_nlink is 0, clear_inode. */
  evict_inode?(task: Task, inode: Inode): Awaitable<void>;
  put_super?(task: Task, sb: SuperBlock): Awaitable<void>;
  sync_fs?(task: Task, sb: SuperBlock, wait: boolean): Awaitable<void>;
  freeze_fs?(task: Task, sb: SuperBlock): Awaitable<void>;
  unfreeze_fs?(task: Task, sb: SuperBlock): Awaitable<void>;
  statfs?(task: Task, dentry: Dentry): Awaitable<Kstatfs>;
  remount_fs?(task: Task, sb: SuperBlock, flags: number, data: string): Awaitable<void>;
  umount_begin?(task: Task, sb: SuperBlock): Awaitable<void>;
  show_options?(task: Task, root: Dentry): string;
  /** Up to `length` bytes of a quota file, fewer at its end. dqio_sem is held. */
  quota_read?(task: Task, sb: SuperBlock, type: QuotaType, length: number, offset: number): Awaitable<Buffer>;
  /** Write to a quota file, which may grow. dqio_sem is held exclusively. @returns bytes written */
  quota_write?(task: Task, sb: SuperBlock, type: QuotaType, bytes: Buffer, offset: number): Awaitable<number>;
}

/** How a server finds inodes by number (struct export_operations). */
export interface export_operations {
  /** Read inode `ino` into the cache, with a reference (iput it). Throws ESTALE where it is free or its generation differs. */
  get_inode(task: Task, sb: SuperBlock, ino: number, generation: number | undefined): Awaitable<Inode>;
  /** The directory that `child`, a directory, is in: for connecting it to the tree. With a reference. */
  get_parent(task: Task, child: Inode): Awaitable<Inode>;
  /** The name by which `parent` knows `child`. */
  get_name(task: Task, parent: Inode, child: Inode): Awaitable<string>;
}

/** Locks: the section dentry_operations. */
export interface dentry_operations {
  d_revalidate?(task: Task, dentry: Dentry, flags: number): Awaitable<boolean>;
  d_weak_revalidate?(task: Task, dentry: Dentry, flags: number): Awaitable<boolean>;
  d_hash?(task: Task, dentry: Dentry, name: string): string;
  d_compare?(task: Task, dentry: Dentry, candidate: string, name: string): boolean;
  d_delete?(task: Task, dentry: Dentry): boolean;
  d_init?(task: Task, dentry: Dentry): void;
  d_release?(task: Task, dentry: Dentry): void;
  d_prune?(task: Task, dentry: Dentry): void;
  d_iput?(task: Task, dentry: Dentry, inode: Inode): Awaitable<void>;
  d_dname?(task: Task, dentry: Dentry): string;
  /** Mount what belongs on `dentry`. @returns the mount, not attached yet; undefined where somebody else has mounted it meanwhile */
  d_automount?(task: Task, dentry: Dentry): Awaitable<VfsMount | undefined>;
  /** Somebody is about to walk into `dentry`: wait, or refuse. Throws ECHILD where it would wait in rcu-walk. */
  d_manage?(task: Task, dentry: Dentry, rcuWalk: boolean): Awaitable<void>;
  d_real?(task: Task, dentry: Dentry, inode: Inode | undefined): Dentry;
}

/** One namespace of extended attributes: 'user.', 'trusted.', 'security.'. Locks: the section xattr_handler. */
export interface xattr_handler {
  /** The prefix with its dot. */
  readonly prefix: string;
  /** Whether a listing shows the names of this handler to the caller. */
  list?(task: Task, dentry: Dentry): boolean;
  /**
   * `name` is without the prefix. Undefined stands for ENODATA: that is what most are told (each first write to a file asks for security.capability), and an exception costs
   * more than the rest of the call.
   */
  get?(task: Task, dentry: Dentry, inode: Inode, name: string): Awaitable<Buffer | undefined>;
  /** `value` undefined removes. `flags`: XATTR_CREATE (EEXIST), XATTR_REPLACE (ENODATA). */
  set?(
    task: Task,
    dentry: Dentry,
    inode: Inode,
    name: string,
    value: Buffer | undefined,
    flags: number,
  ): Awaitable<void>;
}
