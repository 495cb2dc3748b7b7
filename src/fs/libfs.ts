/** What filesystems without a device share (fs/libfs.c): directories that live in the dcache, listed by positions that stay true. */

import { inode_operations as rows } from '../contract/inode.js';
import { call } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { PAGE_SIZE } from '../mm/folio.js';
import { truncate_setsize } from '../mm/truncate.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { DT_DIR } from '../uapi/dirent.js';
import { setattr_copy } from './attr.js';
import { d_alloc, d_drop, dput } from './dcache.js';
import { d_add } from './dcache-alias.js';
import { DCACHE_PERSISTENT, type Dentry, inodeOf } from './dentry.js';
import type { File } from './file.js';
import { generic_delete_inode } from './icache.js';
import { type Inode, i_size_write } from './inode.js';
import type { dentry_operations, file_operations, super_operations } from './operations.js';
import { generic_file_llseek } from './seek.js';
import { generic_fillattr } from './stat.js';
import { generic_shutdown_super } from './super.js';
import type { SuperBlock } from './super-block.js';
import type { DirContext, Iattr, Kstat, Kstatfs } from './types.js';

/** Positions 0 and 1 are '.' and '..'. */
const FIRST_OFFSET = 2;

/** The entries of one directory by position (struct offset_ctx). A position is never used twice. */
export class OffsetCtx {
  /** In the order of their positions, because each is higher than all before it. */
  readonly entries = new Map<number, Dentry>();
  next = FIRST_OFFSET;
}

/** Where an entry stands, with its dentry (d_fsdata). */
class OffsetEntry {
  ctx: OffsetCtx | undefined;
  offset = 0;
}

/** The directory has a new entry (simple_offset_add). i_rwsem of the directory is held exclusively, or nobody knows it yet. */
export function simple_offset_add(ctx: OffsetCtx, dentry: Dentry): void {
  const { d_fsdata: entry } = dentry;
  const offset = ctx.next++;
  ctx.entries.set(offset, dentry);
  if (!(entry instanceof OffsetEntry)) return;
  entry.ctx = ctx;
  entry.offset = offset;
}

/** An entry has gone (simple_offset_remove). i_rwsem of the directory is held exclusively, or the dentry goes. */
export function simple_offset_remove(ctx: OffsetCtx, dentry: Dentry): void {
  const { d_fsdata: known } = dentry;
  if (known instanceof OffsetEntry) {
    ctx.entries.delete(known.offset);
    known.ctx = undefined;
    return;
  }
  for (const [offset, entry] of ctx.entries) if (entry === dentry) ctx.entries.delete(offset);
}

/** Two entries take each other's places (simple_offset_rename_exchange). i_rwsem of both directories is held exclusively. */
export function simple_offset_exchange(ctx: OffsetCtx, dentry: Dentry, otherCtx: OffsetCtx, other: Dentry): void {
  simple_offset_remove(ctx, dentry);
  simple_offset_remove(otherCtx, other);
  simple_offset_add(otherCtx, dentry);
  simple_offset_add(ctx, other);
}

/** For names that may stand in such a directory: a dentry that goes is not listed any more. */
export const simple_offset_dentry_operations: dentry_operations = {
  d_init: (_task, dentry) => {
    dentry.d_fsdata = new OffsetEntry();
  },
  d_prune: (task, dentry) => {
    // From here on nobody may find it, so nobody may read of it.
    guard_write(task, GUARDED.d_inode, dentry.d_lock);
    const { d_fsdata: entry } = dentry;
    if (entry instanceof OffsetEntry && entry.ctx !== undefined) simple_offset_remove(entry.ctx, dentry);
  },
  d_release: (_task, dentry) => {
    dentry.d_fsdata = undefined;
  },
};

/** @throws ENOTDIR where the directory does not keep its entries by position */
function offsetsOf(task: Task, inode: Inode, seeking: boolean): OffsetCtx {
  const { get_offset_ctx } = inode.i_op;
  if (get_offset_ctx === undefined) throw errno('ENOTDIR');
  const participants = seeking ? { inode: inode.i_rwsem } : {};
  // It only hands out a pointer: there is nothing in it that could wait.
  return call(task, rows.get_offset_ctx, participants, () => get_offset_ctx(task, inode)) as OffsetCtx;
}

function offset_dir_llseek(task: Task, file: File, offset: number, whence: number): number {
  offsetsOf(task, file.f_inode, true);
  return generic_file_llseek(file, offset, whence);
}

/** With i_rwsem shared and f_pos_lock, as the row of iterate_shared says. */
function offset_readdir(task: Task, file: File, ctx: DirContext): void {
  const { f_inode: dir, f_dentry: dentry } = file;
  const parent = dentry.d_parent.d_inode ?? dir;
  if (ctx.pos === 0) {
    if (!ctx.actor('.', dir.i_ino, DT_DIR, 1)) return;
    ctx.pos = 1;
  }
  if (ctx.pos === 1) {
    if (!ctx.actor('..', parent.i_ino, DT_DIR, FIRST_OFFSET)) return;
    ctx.pos = FIRST_OFFSET;
  }
  for (const [offset, { d_name: name, d_inode: inode }] of offsetsOf(task, dir, false).entries) {
    if (offset < ctx.pos || inode === undefined) continue;
    if (!ctx.actor(name, inode.i_ino, (inode.i_mode >>> 12) & 15, offset + 1)) return;
    ctx.pos = offset + 1;
  }
}

/** Directories whose entries are all in the dcache (simple_offset_dir_operations). */
export const simple_offset_dir_operations: file_operations = {
  llseek: offset_dir_llseek,
  iterate_shared: offset_readdir,
};

/** ->lookup of a directory whose entries are all in the dcache: what is not there does not exist (simple_lookup). */
export function simple_lookup(task: Task, _dir: Inode, dentry: Dentry): undefined {
  d_add(task, dentry, undefined);
  return undefined;
}

/** Give an inode a name that stays in the dcache until kill_litter_super. Takes over the reference to the inode. */
export function simple_add(task: Task, parent: Dentry, ctx: OffsetCtx, name: string, inode: Inode): Dentry {
  const dentry = d_alloc(task, parent, name);
  dentry.d_flags |= DCACHE_PERSISTENT;
  d_add(task, dentry, inode);
  simple_offset_add(ctx, dentry);
  return dentry;
}

/** ->setattr of a file or directory whose contents are nothing but pages (simple_setattr). Takes invalidate_lock for a new size. */
export async function simple_setattr(task: Task, dentry: Dentry, attr: Iattr): Promise<void> {
  const inode = inodeOf(dentry);
  if (attr.size !== undefined) {
    using held = await inode.i_mapping.invalidate_lock.write(task);
    await truncate_setsize(task, inode.i_mapping, attr.size, (size) => i_size_write(task, inode, size), held);
  }
  setattr_copy(task, inode, attr.size === undefined ? attr : { ...attr, mtime: attr.mtime ?? 'now' });
}

/** ->getattr of a file that takes as much room as it has pages (simple_getattr). */
export function simple_getattr(_task: Task, dentry: Dentry): Kstat {
  const inode = inodeOf(dentry);
  return { ...generic_fillattr(inode), blocks: inode.i_mapping.nrpages * (PAGE_SIZE / 512) };
}

/** ->get_link of a symlink whose target is in its inode, i_link (simple_get_link). */
export function simple_get_link(_task: Task, _dentry: Dentry | undefined, { i_link: target }: Inode): string {
  if (target === undefined) throw errno('EINVAL');
  return target;
}

/** ->fsync of a file that is nowhere but in memory (noop_fsync). */
export function noop_fsync(): void {}

/** ->statfs of a filesystem that takes no room (simple_statfs). */
export function simple_statfs(_task: Task, dentry: Dentry): Awaitable<Kstatfs> {
  const { d_sb: sb } = dentry;
  return {
    f_type: sb.s_magic,
    f_bsize: sb.s_blocksize,
    f_frsize: sb.s_blocksize,
    f_blocks: 0,
    f_bfree: 0,
    f_bavail: 0,
    f_files: 0,
    f_ffree: 0,
    f_namelen: 255,
    f_fsid: 0,
    f_flags: 0,
  };
}

/** What filesystems without a device have in common (simple_super_operations). */
export const simple_super_operations: super_operations = {
  statfs: simple_statfs,
  drop_inode: generic_delete_inode,
};

/** ->kill_sb of a filesystem that lives in the dcache: its names lose the reference that kept them there (kill_litter_super). Locks: the row of kill_sb. */
export async function kill_litter_super(task: Task, sb: SuperBlock): Promise<number> {
  const { s_root: root } = sb;
  if (root !== undefined) await d_genocide(task, root);
  return generic_shutdown_super(task, sb);
}

async function d_genocide(task: Task, parent: Dentry): Promise<void> {
  for (const child of [...(parent.d_children?.values() ?? [])]) {
    await d_genocide(task, child);
    if ((child.d_flags & DCACHE_PERSISTENT) === 0) continue;
    child.d_flags &= ~DCACHE_PERSISTENT;
    d_drop(task, child);
    await dput(task, child);
  }
}
