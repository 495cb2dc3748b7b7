/** ioctl(2) (fs/ioctl.c): what the VFS answers for every filesystem; the rest goes to ->unlocked_ioctl. */

import { address_space_operations } from '../contract/address-space.js';
import { file_operations } from '../contract/file.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from '../uapi/falloc.js';
import {
  FIBMAP,
  FIFREEZE,
  FIGETBSZ,
  FIONREAD,
  FITHAW,
  FS_IOC_FIEMAP,
  FS_IOC_FSGETXATTR,
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
  FS_IOC_RESVSP,
  FS_IOC_RESVSP64,
  FS_IOC_SETFLAGS,
  FS_IOC_UNRESVSP,
  FS_IOC_UNRESVSP64,
  FS_IOC_ZERO_RANGE,
  FS_IOC32_GETFLAGS,
  FS_IOC32_SETFLAGS,
} from '../uapi/ioctl.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import { vfs_fallocate } from './fallocate.js';
import { ioctl_fiemap } from './fiemap.js';
import type { File } from './file.js';
import { file_dentry } from './file-table.js';
import { fileattr_fill_flags, fileattr_fill_xflags, vfs_fileattr_get, vfs_fileattr_set } from './fileattr.js';
import { freeze_super, thaw_super } from './super-freeze.js';
import type { FileAttr } from './types.js';

const NOTHING = Buffer.alloc(0);
/** Bytes of struct fsxattr. */
const FSXATTR = 28;

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  return bytes;
}

/** @throws EFAULT where the caller passed fewer bytes than the command has */
function need(arg: Buffer, bytes: number): void {
  if (arg.length < bytes) throw errno('EFAULT');
}

/**
 * @param cmd the command, as user space says it
 * @param arg the bytes that the caller passed
 * @returns the bytes for the caller
 * @throws ENOTTY for a command that nobody knows; EPERM EROFS EINVAL EOPNOTSUPP EFAULT and what the command throws
 */
export function vfs_ioctl(task: Task, file: File, cmd: number, arg: Buffer): Awaitable<Buffer> {
  const done = do_vfs_ioctl(task, file, cmd, arg);
  if (done !== undefined) return done;
  const { unlocked_ioctl } = file.f_op;
  if (unlocked_ioctl === undefined) throw errno('ENOTTY');
  return answered(call(task, file_operations.unlocked_ioctl, {}, () => unlocked_ioctl(task, file, cmd, arg)));
}

/** As vfs_ioctl, for a process of 32 bits on a kernel of 64 (compat_sys_ioctl): the filesystem is asked by ->compat_ioctl. @throws ENOTTY for what has none; as vfs_ioctl */
export function compat_ioctl(task: Task, file: File, cmd: number, arg: Buffer): Awaitable<Buffer> {
  const native: Readonly<Record<number, number>> = {
    [FS_IOC32_GETFLAGS]: FS_IOC_GETFLAGS,
    [FS_IOC32_SETFLAGS]: FS_IOC_SETFLAGS,
  };
  const done = do_vfs_ioctl(task, file, native[cmd >>> 0] ?? cmd, arg);
  if (done !== undefined) return done;
  const { compat_ioctl: op } = file.f_op;
  if (op === undefined) throw errno('ENOTTY');
  return answered(call(task, file_operations.compat_ioctl, {}, () => op(task, file, cmd, arg)));
}

function answered(answer: Awaitable<Buffer | number>): Awaitable<Buffer> {
  return andThen(answer, (value) => (typeof value === 'number' ? NOTHING : value));
}

/** The commands that mean the same for every filesystem. @returns undefined for others (ENOIOCTLCMD) */
function do_vfs_ioctl(task: Task, file: File, cmd: number, arg: Buffer): Awaitable<Buffer> | undefined {
  const { f_inode: inode } = file;
  const isReg = (inode.i_mode & S_IFMT) === S_IFREG;
  switch (cmd >>> 0) {
    case FIGETBSZ:
      return word(inode.i_sb.s_blocksize);
    case FS_IOC_GETFLAGS:
      if (inode.i_op.fileattr_get === undefined) break;
      return vfs_fileattr_get(task, file_dentry(task, file)).then(({ flags }) => word(flags));
    case FS_IOC_SETFLAGS:
      need(arg, 4);
      return setFlags(task, file, arg.readUInt32LE(0));
    case FS_IOC_FSGETXATTR:
      if (inode.i_op.fileattr_get === undefined) break;
      return vfs_fileattr_get(task, file_dentry(task, file)).then(encodeFsxattr);
    case FS_IOC_FSSETXATTR:
      need(arg, FSXATTR);
      return setFsxattr(task, file, arg);
    case FS_IOC_FIEMAP:
      return ioctl_fiemap(task, inode, arg);
    case FIBMAP:
      if (isReg) return ioctl_fibmap(task, file, arg);
      break;
    case FIONREAD:
      if (isReg) return word(Math.max(0, inode.i_size - file.f_pos));
      break;
    case FIFREEZE:
    case FITHAW:
      return ioctl_freeze(task, file, cmd >>> 0 === FIFREEZE);
    case FS_IOC_RESVSP:
    case FS_IOC_RESVSP64:
      if (isReg) return ioctl_preallocate(task, file, 0, arg);
      break;
    case FS_IOC_UNRESVSP:
    case FS_IOC_UNRESVSP64:
      if (isReg) return ioctl_preallocate(task, file, FALLOC_FL_PUNCH_HOLE, arg);
      break;
    case FS_IOC_ZERO_RANGE:
      if (isReg) return ioctl_preallocate(task, file, FALLOC_FL_ZERO_RANGE, arg);
      break;
  }
  return undefined;
}

async function setFlags(task: Task, file: File, flags: number): Promise<Buffer> {
  await vfs_fileattr_set(task, file_dentry(task, file), (old) => fileattr_fill_flags(old, flags));
  return NOTHING;
}

function encodeFsxattr(attr: FileAttr): Buffer {
  const bytes = Buffer.alloc(FSXATTR);
  bytes.writeUInt32LE(attr.fsx_xflags >>> 0, 0);
  bytes.writeUInt32LE(attr.fsx_extsize, 4);
  bytes.writeUInt32LE(attr.fsx_nextents, 8);
  bytes.writeUInt32LE(attr.fsx_projid, 12);
  bytes.writeUInt32LE(attr.fsx_cowextsize, 16);
  return bytes;
}

async function setFsxattr(task: Task, file: File, arg: Buffer): Promise<Buffer> {
  const wanted = {
    fsx_xflags: arg.readUInt32LE(0),
    fsx_extsize: arg.readUInt32LE(4),
    fsx_projid: arg.readUInt32LE(12),
    fsx_cowextsize: arg.readUInt32LE(16),
  };
  await vfs_fileattr_set(task, file_dentry(task, file), (old) => fileattr_fill_xflags(old, wanted));
  return NOTHING;
}

/** Stop or start all changes of the filesystem that a file is in (ioctl_fsfreeze, ioctl_fsthaw). @throws EPERM EOPNOTSUPP EBUSY EINVAL */
async function ioctl_freeze(task: Task, file: File, freeze: boolean): Promise<Buffer> {
  const { i_sb: sb } = file.f_inode;
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  if (!freeze) await thaw_super(task, sb);
  else if (sb.s_op.freeze_fs === undefined) throw errno('EOPNOTSUPP');
  else await freeze_super(task, sb);
  return NOTHING;
}

/** The device block of a file's block, 0 for a hole (ioctl_fibmap). @throws EPERM EINVAL */
async function ioctl_fibmap(task: Task, file: File, arg: Buffer): Promise<Buffer> {
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  need(arg, 4);
  const block = arg.readInt32LE(0);
  if (block < 0) throw errno('EINVAL');
  const { f_mapping: mapping } = file;
  const { bmap } = mapping.a_ops;
  if (bmap === undefined) throw errno('EINVAL');
  const found = await call(task, address_space_operations.bmap, {}, () => bmap(task, mapping, block));
  if (found > 0x7fffffff) throw errno('ERANGE');
  return word(found);
}

/** struct space_resv, the interface of XFS to what became fallocate (ioctl_preallocate). @throws EINVAL and as vfs_fallocate */
async function ioctl_preallocate(task: Task, file: File, mode: number, arg: Buffer): Promise<Buffer> {
  need(arg, 48);
  const whence = arg.readInt16LE(2);
  const start = Number(arg.readBigInt64LE(8));
  const length = Number(arg.readBigInt64LE(16));
  const bases = [0, file.f_pos, file.f_inode.i_size];
  const base = bases[whence];
  if (base === undefined) throw errno('EINVAL');
  await vfs_fallocate(task, file, mode | FALLOC_FL_KEEP_SIZE, base + start, length);
  return NOTHING;
}
