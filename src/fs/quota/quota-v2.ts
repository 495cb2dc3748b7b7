/**
 * The format vfsv1 of quota files (fs/quota/quota_v2.c, QFMT_VFS_V1), little-endian. Behind the header and the info comes the tree:
 *
 *      0  4  magic of the type          16  4  flags
 *      4  4  version, 1                 20  4  blocks of the file
 *      8  4  grace time of space, s     24  4  first block that nobody needs
 *     12  4  of inodes                  28  4  first block of quotas with room
 *
 * A quota (limits of space in units of 1024 bytes, of inodes in inodes; times in seconds since 1970):
 *
 *      0  4  id                         32  8  hard limit of space
 *      8  8  hard limit of inodes       40  8  soft limit of space
 *     16  8  soft limit of inodes       48  8  bytes in use
 *     24  8  inodes in use              56  8  when the grace of space ends    64  8  of inodes
 */

import { dquot_operations } from '../../contract/dquot.js';
import type { Row } from '../../contract/row.js';
import { super_operations as rows } from '../../contract/super.js';
import { call } from '../../locking/context.js';
import { GUARDED, guard_write } from '../../locking/guarded.js';
import { heldBy } from '../../locking/held.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { SuperBlock } from '../super-block.js';
import { EMPTY_TREE, ENTRY, QuotaTree, type TreeInfo } from './quota-tree.js';
import {
  DQ_FAKE,
  type Dquot,
  GRPQUOTA,
  type MemDqblk,
  type MemDqinfo,
  newDqblk,
  PRJQUOTA,
  QUOTABLOCK_SIZE,
  type QuotaType,
  type quota_format_ops,
  USRQUOTA,
} from './types.js';

export const QFMT_VFS_V1 = 4;
const MAGIC: Readonly<Record<QuotaType, number>> = {
  [USRQUOTA]: 0xd9c01f11,
  [GRPQUOTA]: 0xd9c01927,
  [PRJQUOTA]: 0xd9c03f14,
};
const VERSION = 1;
/** Bytes of header and info. */
const HEAD = 32;
/** A week (MAX_DQ_TIME and MAX_IQ_TIME). */
export const DEFAULT_GRACE = 604800;
/** The most bytes and inodes that JavaScript counts exactly. */
const MAX = Number.MAX_SAFE_INTEGER;

/** Operations of files and names: a charge in one of them comes without s_umount. */
const OF_FILES: ReadonlySet<string> = new Set(['file_operations', 'inode_operations', 'xattr_handler']);

/** Whether it is a charge that a file operation makes. A sync, an eviction, a mount and quotactl hold s_umount, and may. */
function onBehalfOfFile(task: Task, sb: SuperBlock): boolean {
  if (heldBy(task, sb.s_dquot.dqonoff_sem) !== undefined) return false;
  for (let at = task.op; at !== undefined; at = at.parent) {
    const { section, op } = at.row;
    if (OF_FILES.has(section)) return true;
    if (section !== 'dquot_operations' && op !== 'write_begin') return false;
  }
  return false;
}

/** mark_dirty only marks: what it says of a quota is written later. */
function mayRecurse(task: Task, through: Row): void {
  if (!task.validator.checking) return;
  for (let at = task.op; at !== undefined; at = at.parent) {
    if (at.row !== dquot_operations.mark_dirty) continue;
    task.validator.violation(task, 'promise', {
      message: `dquot_operations.mark_dirty comes back into the filesystem through ${through.op}`,
      rule: 'dquot_operations.mark_dirty#does-not-recurse',
      row: at.row,
      held: [...task.held],
    });
    return;
  }
}

/** Who takes part in quota_read and quota_write. */
function participants(
  task: Task,
  sb: SuperBlock,
): {
  'sb.dqio_sem': SuperBlock['s_dquot']['dqio_sem'];
  'sb.s_umount'?: SuperBlock['s_umount'];
} {
  const { dqio_sem } = sb.s_dquot;
  return onBehalfOfFile(task, sb)
    ? { 'sb.dqio_sem': dqio_sem, 'sb.s_umount': sb.s_umount }
    : { 'sb.dqio_sem': dqio_sem };
}

function quota_read(task: Task, sb: SuperBlock, type: QuotaType, length: number, offset: number): Awaitable<Buffer> {
  const { quota_read: op } = sb.s_op;
  if (op === undefined) throw errno('EINVAL', 'the filesystem has no quota files');
  mayRecurse(task, rows.quota_read);
  return call(task, rows.quota_read, participants(task, sb), () => op(task, sb, type, length, offset));
}

/** @throws EIO where not all of it is written */
function quota_write(task: Task, sb: SuperBlock, type: QuotaType, bytes: Buffer, offset: number): Awaitable<void> {
  const { quota_write: op } = sb.s_op;
  if (op === undefined) throw errno('EINVAL', 'the filesystem has no quota files');
  mayRecurse(task, rows.quota_write);
  const written = call(task, rows.quota_write, participants(task, sb), () => op(task, sb, type, bytes, offset));
  return andThen(written, (count) => {
    if (count !== bytes.length) throw errno('EIO', `${count} of ${bytes.length} bytes of a quota file were written`);
  });
}

class Tree implements TreeInfo {
  blocks = EMPTY_TREE.blocks;
  freeBlock = EMPTY_TREE.freeBlock;
  freeEntry = EMPTY_TREE.freeEntry;
}

function treeInfo(info: MemDqinfo): Tree {
  if (info.dqi_priv instanceof Tree) return info.dqi_priv;
  throw errno('EIO', 'a quota file of another format');
}

function treeOf(sb: SuperBlock, type: QuotaType, info: MemDqinfo): QuotaTree {
  const file = {
    read: (task: Task, length: number, offset: number) => quota_read(task, sb, type, length, offset),
    write: (task: Task, bytes: Buffer, offset: number) => quota_write(task, sb, type, bytes, offset),
  };
  return new QuotaTree(file, treeInfo(info), () => {
    info.dirty = true;
  });
}

/** The info of a file that is to be made. */
export function newInfo(): MemDqinfo {
  return {
    dqi_bgrace: DEFAULT_GRACE,
    dqi_igrace: DEFAULT_GRACE,
    dqi_flags: 0,
    dqi_max_spc_limit: MAX,
    dqi_max_ino_limit: MAX,
    dirty: false,
    dqi_priv: new Tree(),
  };
}

function encodeInfo(type: QuotaType, info: MemDqinfo): Buffer {
  const tree = treeInfo(info);
  const bytes = Buffer.alloc(HEAD);
  const fields = [MAGIC[type], VERSION, info.dqi_bgrace, info.dqi_igrace, info.dqi_flags];
  for (const [i, value] of [...fields, tree.blocks, tree.freeBlock, tree.freeEntry].entries()) {
    bytes.writeUInt32LE(value, 4 * i);
  }
  return bytes;
}

/** @throws EINVAL */
function decodeInfo(type: QuotaType, bytes: Buffer): MemDqinfo {
  if (bytes.length < HEAD || bytes.readUInt32LE(0) !== MAGIC[type] || bytes.readUInt32LE(4) !== VERSION) {
    throw errno('EINVAL', 'no quota file of format vfsv1');
  }
  const info = newInfo();
  info.dqi_bgrace = bytes.readUInt32LE(8);
  info.dqi_igrace = bytes.readUInt32LE(12);
  info.dqi_flags = bytes.readUInt32LE(16);
  const tree = treeInfo(info);
  tree.blocks = bytes.readUInt32LE(20);
  tree.freeBlock = bytes.readUInt32LE(24);
  tree.freeEntry = bytes.readUInt32LE(28);
  return info;
}

function put64(bytes: Buffer, at: number, value: number): void {
  bytes.writeBigUInt64LE(BigInt(value), at);
}

function get64(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at));
}

/** A quota as the file has it. One that says nothing gets a time that means nothing, because all zeroes are no quota. */
function encode(id: number, dqb: MemDqblk): Buffer {
  const bytes = Buffer.alloc(ENTRY);
  put64(bytes, 8, dqb.dqb_ihardlimit);
  put64(bytes, 16, dqb.dqb_isoftlimit);
  put64(bytes, 24, dqb.dqb_curinodes);
  put64(bytes, 32, Math.ceil(dqb.dqb_bhardlimit / QUOTABLOCK_SIZE));
  put64(bytes, 40, Math.ceil(dqb.dqb_bsoftlimit / QUOTABLOCK_SIZE));
  put64(bytes, 48, dqb.dqb_curspace);
  put64(bytes, 56, dqb.dqb_btime);
  put64(bytes, 64, dqb.dqb_itime);
  bytes.writeUInt32LE(id, 0);
  if (bytes.every((byte) => byte === 0)) put64(bytes, 64, 1);
  return bytes;
}

function decode(bytes: Buffer, dqb: MemDqblk): void {
  dqb.dqb_ihardlimit = get64(bytes, 8);
  dqb.dqb_isoftlimit = get64(bytes, 16);
  dqb.dqb_curinodes = get64(bytes, 24);
  dqb.dqb_bhardlimit = get64(bytes, 32) * QUOTABLOCK_SIZE;
  dqb.dqb_bsoftlimit = get64(bytes, 40) * QUOTABLOCK_SIZE;
  dqb.dqb_curspace = get64(bytes, 48);
  dqb.dqb_btime = get64(bytes, 56);
  const times = get64(bytes, 64);
  const nothing = bytes.subarray(0, 64).every((byte) => byte === 0) && times === 1;
  dqb.dqb_itime = nothing ? 0 : times;
}

/** Whether a quota says nothing: nothing is used, and there is no limit. */
function saysNothing(dqb: MemDqblk): boolean {
  const { dqb_curspace, dqb_curinodes, dqb_rsvspace } = dqb;
  return dqb_curspace === 0 && dqb_curinodes === 0 && dqb_rsvspace === 0 && hasNoLimits(dqb);
}

function hasNoLimits(dqb: MemDqblk): boolean {
  return dqb.dqb_bhardlimit === 0 && dqb.dqb_bsoftlimit === 0 && dqb.dqb_ihardlimit === 0 && dqb.dqb_isoftlimit === 0;
}

async function readDquot(task: Task, dquot: Dquot, info: MemDqinfo): Promise<void> {
  guard_write(task, GUARDED.dq_state, dquot.dq_lock);
  const { dq_sb: sb, dq_type: type, dq_id: id, dq_dqb: dqb } = dquot;
  using _io = await sb.s_dquot.dqio_sem.read(task);
  dquot.dq_off = await treeOf(sb, type, info).find(task, id);
  if (dquot.dq_off > 0) {
    const bytes = await quota_read(task, sb, type, ENTRY, dquot.dq_off);
    if (bytes.length !== ENTRY) throw errno('EIO', `the quota of id ${id} lies beyond the end of the file`);
    decode(bytes, dqb);
  }
  if (hasNoLimits(dqb)) dquot.dq_flags |= DQ_FAKE;
}

async function writeDquot(task: Task, dquot: Dquot, info: MemDqinfo): Promise<void> {
  guard_write(task, GUARDED.dq_state, dquot.dq_lock);
  const { dq_sb: sb, dq_type: type, dq_id: id } = dquot;
  using _io = await sb.s_dquot.dqio_sem.write(task);
  if (dquot.dq_off === 0) dquot.dq_off = await treeOf(sb, type, info).insert(task, id);
  await quota_write(task, sb, type, encode(id, dquot.dq_dqb), dquot.dq_off);
}

async function releaseDquot(task: Task, dquot: Dquot, info: MemDqinfo): Promise<void> {
  const { dq_sb: sb, dq_type: type, dq_id: id } = dquot;
  guard_write(task, GUARDED.dq_state, dquot.dq_lock);
  if (dquot.dq_off === 0 || !saysNothing(dquot.dq_dqb)) return;
  using _io = await sb.s_dquot.dqio_sem.write(task);
  await treeOf(sb, type, info).remove(task, id, dquot.dq_off);
  dquot.dq_off = 0;
}

export const v2_format_ops: quota_format_ops = {
  qf_fmt_id: QFMT_VFS_V1,
  read_file_info: async (task, sb, type) => {
    using _io = await sb.s_dquot.dqio_sem.read(task);
    return decodeInfo(type, await quota_read(task, sb, type, HEAD, 0));
  },
  write_file_info: async (task, sb, type, info) => {
    using _io = await sb.s_dquot.dqio_sem.write(task);
    info.dirty = false;
    try {
      await quota_write(task, sb, type, encodeInfo(type, info), 0);
    } catch (error) {
      info.dirty = true;
      throw error;
    }
  },
  read_dqblk: readDquot,
  commit_dqblk: writeDquot,
  release_dqblk: releaseDquot,
  get_next_id: async (task, sb, type, id, info) => {
    using _io = await sb.s_dquot.dqio_sem.read(task);
    const found = await treeOf(sb, type, info).next(task, id);
    if (found === undefined) throw errno('ENOENT');
    return found;
  },
};

/** What a quota file begins with, as bytes: for who makes one. */
export function emptyQuotaFile(type: QuotaType): Buffer {
  return Buffer.concat([encodeInfo(type, newInfo())], EMPTY_TREE.blocks * 1024);
}

/** The quotas in the bytes of a file, by id, for who checks one. @throws EINVAL EIO where it is damaged */
export async function quotasIn(task: Task, type: QuotaType, bytes: Buffer): Promise<Map<number, MemDqblk>> {
  const info = decodeInfo(type, bytes);
  const read = (_task: Task, length: number, offset: number): Buffer => bytes.subarray(offset, offset + length);
  const tree = new QuotaTree({ read, write: () => undefined }, treeInfo(info), () => undefined);
  const found = new Map<number, MemDqblk>();
  for (let id = await tree.next(task, 0); id !== undefined; id = await tree.next(task, id + 1)) {
    const at = await tree.find(task, id);
    const dqblk = newDqblk();
    decode(bytes.subarray(at, at + ENTRY), dqblk);
    found.set(id, dqblk);
  }
  return found;
}
