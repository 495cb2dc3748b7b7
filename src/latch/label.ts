/** The filesystem's name: FS_IOC_GETFSLABEL and FS_IOC_SETFSLABEL (fs/ext4/ioctl.c). */
import type { BlockDevice } from '../block/block-device.js';
import { brelse } from '../block/buffer.js';
import { sb_bread } from '../block/buffer-cache.js';
import { withWrite } from '../fs/super-freeze.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { COMPAT_COPY, copyBlock, encodeSuper, LABEL_BYTES, type Superblock } from './format/superblock.js';
import { type LatchInfo, with_handle } from './info.js';
import type { Handle } from './journal/types.js';

/** Bytes that user space passes and takes, a NUL behind a label of full length included. */
const LABEL_ARGUMENT = LABEL_BYTES + 1;

/** FS_IOC_GETFSLABEL. @returns the label, NUL behind it */
export function ioctl_getlabel({ super: disk }: LatchInfo): Buffer {
  const answer = Buffer.alloc(LABEL_ARGUMENT);
  answer.write(disk.label, 'latin1');
  return answer;
}

/**
 * FS_IOC_SETFSLABEL, in the superblock and its copy in one transaction.
 * @param arg the label, NUL behind it
 * @throws EPERM without CAP_SYS_ADMIN; EFAULT; EINVAL for more than 16 bytes; EROFS; EIO
 */
export function ioctl_setlabel(task: Task, info: LatchInfo, arg: Buffer): Awaitable<Buffer> {
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  if (arg.length < LABEL_ARGUMENT) throw errno('EFAULT');
  const end = arg.indexOf(0);
  if (end < 0 || end > LABEL_BYTES) throw errno('EINVAL');
  const label = arg.toString('latin1', 0, end);
  const { super: disk, bdev } = info;
  const relabel = (handle: Handle): Awaitable<void> =>
    andThen(changeCopy(task, handle, bdev, disk, label), () =>
      andThen(info.changeSuper(task, handle), () => {
        disk.label = label;
      }),
    );
  return andThen(
    withWrite(task, info.sb, () => with_handle(task, info, relabel)),
    () => Buffer.alloc(0),
  );
}

/** The copy of the superblock, where there is one: fsck wants the same label in both. */
async function changeCopy(
  task: Task,
  handle: Handle,
  bdev: BlockDevice,
  disk: Superblock,
  label: string,
): Promise<void> {
  if ((disk.compat & COMPAT_COPY) === 0) return;
  const bh = await sb_bread(task, bdev, copyBlock(disk.blocks));
  try {
    await handle.get_write_access(task, bh);
    encodeSuper(bh.b_data, { ...disk, label });
    handle.dirty_metadata(task, bh);
  } finally {
    brelse(bh);
  }
}
