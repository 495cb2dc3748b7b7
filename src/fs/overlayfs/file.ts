/** Open files of an overlay, each of which has one of the layer (fs/overlayfs/file.c). */

import type { VmArea } from '../../mm/vma.js';
import type { Awaitable } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { O_NOATIME } from '../../uapi/fcntl.js';
import { vfs_fadvise } from '../fadvise.js';
import { File } from '../file.js';
import { do_dentry_open, fput, get_file } from '../file-table.js';
import { vfs_ioctl } from '../ioctl.js';
import { MappedFile } from '../mmap.js';
import type { file_operations } from '../operations.js';
import { vfs_iter_read } from '../read-write.js';
import { vfs_llseek } from '../seek.js';
import { asCreator, ovl } from './entry.js';

/** What was opened in the layer for an open file of the overlay. */
function realFile({ private_data: real }: File): File {
  if (real instanceof File) return real;
  throw errno('EBADF');
}

/** The area is one of the layer's file, whose pages they are (vma_set_file). @throws what the layer's ->mmap throws */
async function ovl_mmap(task: Task, file: File, vma: VmArea): Promise<void> {
  const mapped = new MappedFile(get_file(realFile(file)));
  try {
    await mapped.mmap(task, vma);
  } catch (error) {
    await mapped.fput(task);
    throw error;
  }
  vma.vm_file = mapped;
  await fput(task, file);
}

export const ovl_file_operations: file_operations = {
  // The file of the layer keeps the overlay's dentry: that is the name by which it was opened (open_with_fake_path). Of the layer nothing is written, no atime either.
  open: async (task, inode, file) => {
    const open = (): Awaitable<File> =>
      do_dentry_open(task, file.f_dentry, ovl(inode).real, file.f_flags | O_NOATIME, 0);
    file.private_data = await asCreator(task, inode.i_sb, open);
  },
  release: (task, _inode, file) => fput(task, realFile(file)),
  llseek: async (task, file, offset, whence) => {
    const real = realFile(file);
    real.f_pos = file.f_pos;
    file.f_pos = await vfs_llseek(task, real, offset, whence);
    return file.f_pos;
  },
  read_iter: async (task, iocb, iter) => {
    const count = await vfs_iter_read(task, realFile(iocb.ki_filp as File), iter, iocb.ki_pos, { direct: iocb.direct });
    iocb.ki_pos += count;
    return count;
  },
  mmap: ovl_mmap,
  fsync: () => undefined,
  fadvise: (task, file, offset, length, advice) => vfs_fadvise(task, realFile(file), offset, length, advice),
  // Of the flags of a file the layer knows, which has no other way to its dentry.
  unlocked_ioctl: (task, file, cmd, arg) => vfs_ioctl(task, realFile(file), cmd, arg),
};
