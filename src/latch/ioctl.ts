/** ioctl(2) of latch's own (fs/ext4/ioctl.c): generation, and the identity of the filesystem. */
import { inode_owner_or_capable } from '../fs/attr.js';
import type { File } from '../fs/file.js';
import { FS_IOC_GETFSUUID, FS_IOC_GETVERSION, FS_IOC_SETVERSION } from '../fs/ioctl.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { infoOf } from './info.js';

/** The same commands from a process of 32 bits, whose long is shorter. */
const FS_IOC32_GETVERSION = 0x80047601;
const FS_IOC32_SETVERSION = 0x40047602;

/** Bytes of struct fsuuid2, whose identity has 16. */
const FSUUID2 = 17;

/** ->unlocked_ioctl. @throws ENOTTY for what it does not know; EPERM */
export function latch_ioctl(task: Task, file: File, cmd: number): Buffer {
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
  }
  throw errno('ENOTTY');
}

/** ->compat_ioctl: the commands of a process of 32 bits. @throws as latch_ioctl */
export function latch_compat_ioctl(task: Task, file: File, cmd: number): Buffer {
  switch (cmd >>> 0) {
    case FS_IOC32_GETVERSION:
      return latch_ioctl(task, file, FS_IOC_GETVERSION);
    case FS_IOC32_SETVERSION:
      return latch_ioctl(task, file, FS_IOC_SETVERSION);
    case FS_IOC_GETFSUUID:
      return latch_ioctl(task, file, cmd);
  }
  throw errno('ENOTTY');
}
