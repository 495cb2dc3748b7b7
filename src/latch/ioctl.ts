/** ioctl(2) of latch's own (fs/ext4/ioctl.c): generation, the identity of the filesystem, FITRIM, FS_IOC_SHUTDOWN. */

import type { File } from '../fs/file.js';
import { inode_owner_or_capable } from '../fs/inode-owner.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  FITRIM,
  FS_IOC_GETFSLABEL,
  FS_IOC_GETFSUUID,
  FS_IOC_GETVERSION,
  FS_IOC_SETFSLABEL,
  FS_IOC_SETVERSION,
  FS_IOC_SHUTDOWN,
} from '../uapi/ioctl.js';
import { infoOf, type LatchInfo } from './info.js';
import { ioctl_getlabel, ioctl_setlabel } from './label.js';
import { latch_force_shutdown } from './shutdown.js';
import { latch_trim_fs } from './trim.js';

/** The same commands from a process of 32 bits, whose long is shorter. */
const FS_IOC32_GETVERSION = 0x80047601;
const FS_IOC32_SETVERSION = 0x40047602;

/** Bytes of struct fsuuid2, whose identity has 16. */
const FSUUID2 = 17;

/** Bytes of struct fstrim_range. */
const FSTRIM_RANGE = 24;

/** FITRIM. @returns the range with the bytes that were discarded as its length @throws EFAULT and as latch_trim_fs */
function ioctl_fitrim(task: Task, info: LatchInfo, arg: Buffer): Awaitable<Buffer> {
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  if (arg.length < FSTRIM_RANGE) throw errno('EFAULT');
  // The largest numbers stand for "all"; what is lost of them is beyond any device.
  const at = (offset: number): number => Number(arg.readBigUInt64LE(offset));
  return andThen(latch_trim_fs(task, info, { start: at(0), len: at(8), minlen: at(16) }), (bytes) => {
    const answer = Buffer.from(arg.subarray(0, FSTRIM_RANGE));
    answer.writeBigUInt64LE(BigInt(bytes), 8);
    return answer;
  });
}

/** FS_IOC_SHUTDOWN. @throws EFAULT and as latch_force_shutdown */
async function ioctl_shutdown(task: Task, info: LatchInfo, arg: Buffer): Promise<Buffer> {
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  if (arg.length < 4) throw errno('EFAULT');
  await latch_force_shutdown(task, info, arg.readUInt32LE(0));
  return Buffer.alloc(0);
}

/** ->unlocked_ioctl. @throws ENOTTY for what it does not know; EPERM EFAULT; as latch_trim_fs and latch_force_shutdown */
export function latch_ioctl(task: Task, file: File, cmd: number, arg: Buffer): Awaitable<Buffer> {
  const info = infoOf(file.f_inode.i_sb);
  switch (cmd >>> 0) {
    case FS_IOC_GETVERSION: {
      const answer = Buffer.alloc(4);
      answer.writeUInt32LE(file.f_inode.i_generation);
      return answer;
    }
    case FS_IOC_SETVERSION:
      if (!inode_owner_or_capable(task, file.f_inode)) throw errno('EPERM');
      // Checksums begin with it, and handles that others keep of the file name it.
      throw errno('ENOTTY');
    case FS_IOC_GETFSUUID: {
      const answer = Buffer.alloc(FSUUID2);
      answer[0] = info.super.uuid.length;
      info.super.uuid.copy(answer, 1);
      return answer;
    }
    case FS_IOC_GETFSLABEL:
      return ioctl_getlabel(info);
    case FS_IOC_SETFSLABEL:
      return ioctl_setlabel(task, info, arg);
    case FITRIM:
      return ioctl_fitrim(task, info, arg);
    case FS_IOC_SHUTDOWN:
      return ioctl_shutdown(task, info, arg);
  }
  throw errno('ENOTTY');
}

/** ->compat_ioctl: the commands of a process of 32 bits. @throws as latch_ioctl */
export function latch_compat_ioctl(task: Task, file: File, cmd: number, arg: Buffer): Awaitable<Buffer> {
  switch (cmd >>> 0) {
    case FS_IOC32_GETVERSION:
      return latch_ioctl(task, file, FS_IOC_GETVERSION, arg);
    case FS_IOC32_SETVERSION:
      return latch_ioctl(task, file, FS_IOC_SETVERSION, arg);
    case FS_IOC_GETFSUUID:
    case FS_IOC_GETFSLABEL:
    case FS_IOC_SETFSLABEL:
    case FITRIM:
    case FS_IOC_SHUTDOWN:
      return latch_ioctl(task, file, cmd, arg);
  }
  throw errno('ENOTTY');
}
