/** Which function answers which opcode, and why the few that none answers are ENOSYS. */
import type { Awaitable } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import type { Message } from '../protocol/message.js';
import { Opcode } from '../protocol/opcodes.js';
import type { RequestHeader } from '../protocol/requests.js';
import type { Session } from '../session.js';
import { access, getattr, getxattr, listxattr, removexattr, setattr, setxattr, statfs, statx } from './attrs.js';
import { read, write } from './data.js';
import { opendir, readdir, readdirplus } from './dirs.js';
import { copyFileRange, copyFileRange64, fallocate, flush, fsync, lseek, release } from './files.js';
import { getlk, setlk, setlkw } from './locks.js';
import { bmap, ioctl, syncfs } from './misc.js';
import { batchForget, forget, link, lookup, mkdir, mknod, readlink, symlink } from './names.js';
import { create, open, tmpfile } from './opening.js';
import { rename, rename2, rmdir, unlink } from './remove.js';

/** Serves one request, its answer included. Throws or rejects with an errno to be answered with it. */
export type OpHandler = (session: Session, task: Task, header: RequestHeader, message: Message) => Awaitable<void>;

export const HANDLERS: Readonly<Record<number, OpHandler>> = {
  [Opcode.LOOKUP]: lookup,
  [Opcode.FORGET]: forget,
  [Opcode.BATCH_FORGET]: batchForget,
  [Opcode.GETATTR]: getattr,
  [Opcode.SETATTR]: setattr,
  [Opcode.READLINK]: readlink,
  [Opcode.SYMLINK]: symlink,
  [Opcode.MKNOD]: mknod,
  [Opcode.MKDIR]: mkdir,
  [Opcode.UNLINK]: unlink,
  [Opcode.RMDIR]: rmdir,
  [Opcode.RENAME]: rename,
  [Opcode.RENAME2]: rename2,
  [Opcode.LINK]: link,
  [Opcode.OPEN]: open,
  [Opcode.READ]: read,
  [Opcode.WRITE]: write,
  [Opcode.STATFS]: statfs,
  [Opcode.RELEASE]: release,
  [Opcode.FSYNC]: fsync,
  [Opcode.SETXATTR]: setxattr,
  [Opcode.GETXATTR]: getxattr,
  [Opcode.LISTXATTR]: listxattr,
  [Opcode.REMOVEXATTR]: removexattr,
  [Opcode.FLUSH]: flush,
  [Opcode.OPENDIR]: opendir,
  [Opcode.READDIR]: readdir,
  [Opcode.READDIRPLUS]: readdirplus,
  [Opcode.RELEASEDIR]: release,
  [Opcode.FSYNCDIR]: fsync,
  [Opcode.GETLK]: getlk,
  [Opcode.SETLK]: setlk,
  [Opcode.SETLKW]: setlkw,
  [Opcode.ACCESS]: access,
  [Opcode.CREATE]: create,
  [Opcode.TMPFILE]: tmpfile,
  [Opcode.BMAP]: bmap,
  [Opcode.IOCTL]: ioctl,
  [Opcode.FALLOCATE]: fallocate,
  [Opcode.LSEEK]: lseek,
  [Opcode.COPY_FILE_RANGE]: copyFileRange,
  [Opcode.COPY_FILE_RANGE_64]: copyFileRange64,
  [Opcode.SYNCFS]: syncfs,
  [Opcode.STATX]: statx,
};

/** Opcodes that are answered with ENOSYS, each with the reason. */
export const UNANSWERED: Readonly<Record<number, string>> = {
  [Opcode.SETUPMAPPING]: 'sent to virtiofs with a DAX window only, which /dev/fuse has not',
  [Opcode.REMOVEMAPPING]: 'sent to virtiofs with a DAX window only, which /dev/fuse has not',
  [Opcode.POLL]:
    'files are always ready, as the kernel then says without asking: io_uring polls a hundred times before each write',
  [Opcode.NOTIFY_REPLY]: 'the answer to notify RETRIEVE, which is never sent',
  [Opcode.CUSE_INIT]: 'for character devices in user space, not for filesystems',
};
