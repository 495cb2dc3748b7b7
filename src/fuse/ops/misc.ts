/** The rest: IOCTL, BMAP, SYNCFS. */

import { IS_CASEFOLDED } from '../../fs/casefold.js';
import { inodeOf } from '../../fs/dentry.js';
import { compat_ioctl, vfs_ioctl } from '../../fs/ioctl.js';
import { vfs_syncfs } from '../../fs/sync.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS, FS_IOC_SHUTDOWN, FS_IOC32_SETFLAGS } from '../../uapi/ioctl.js';
import { asOwner } from '../creds.js';
import { IOCTL, Notify } from '../protocol/flags.js';
import type { Message } from '../protocol/message.js';
import { notifyInvalInode } from '../protocol/notify.js';
import { decodeBmap, decodeIoctl } from '../protocol/read-files.js';
import type { IoctlIn, RequestHeader } from '../protocol/requests.js';
import { encodeBmap, encodeIoctl } from '../protocol/write.js';
import type { Session } from '../session.js';
import { callersBytes } from './caller-memory.js';
import { withDentry } from './names.js';
import { replyOk, withFile } from './reply.js';

const CHANGES_ATTRIBUTES = new Set([FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR]);
/** What the kernel takes for a change of attributes, whoever answers it: where it can map identities, it has seen to it that the caller owns the file (vfs_fileattr_set). */
const CHECKED_BEFORE = new Set([FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR]);

/** IOCTL (vfs_ioctl, do_vfs_ioctl). @throws ENOTTY, and what the request throws */
export function ioctl(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeIoctl(m);
  if (s.negotiated?.mapped === true && CHECKED_BEFORE.has(request.cmd)) task.cred = asOwner(task.cred);
  return andThen(argumentOf(s, task, h, request), (data) => run_ioctl(s, task, h, { ...request, data }));
}

/** The bytes that a command is given. The kernel goes by the command's number, and FS_IOC_SHUTDOWN says of itself that it is given none. @throws EPERM EFAULT */
function argumentOf(s: Session, task: Task, h: RequestHeader, { cmd, arg, data }: IoctlIn): Awaitable<Buffer> {
  if (cmd !== FS_IOC_SHUTDOWN || data.length > 0) return data;
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  return s.sb.sched.external(callersBytes(h.pid, Number(arg), 4));
}

function run_ioctl(s: Session, task: Task, h: RequestHeader, request: IoctlIn): Awaitable<void> {
  const { fh, flags, cmd, data, out_size } = request;
  const run = (flags & IOCTL.COMPAT) === 0 ? vfs_ioctl : compat_ioctl;
  const done = withFile(s, task, h, fh, 'read', (file) => {
    const folded = IS_CASEFOLDED(file.f_inode);
    return andThen(run(task, file, cmd, data), (answer) => {
      if (IS_CASEFOLDED(file.f_inode) !== folded) namesChanged(s);
      return answer;
    });
  });
  return andThen(done, (answer) => {
    if (CHANGES_ATTRIBUTES.has(cmd)) attributesChanged(s, h);
    if (answer.length > out_size) throw errno('EINVAL', `ioctl ${cmd} answers ${answer.length} bytes`);
    const size = encodeIoctl(s.transport.out, 0);
    s.transport.data.add(answer, 0, answer.length);
    s.transport.replyData(h.unique, size);
  });
}

/**
 * The kernel takes no ioctl for a change of attributes, and would go on telling the old ctime. A notification about attributes alone takes no lock
 * that the caller of an ioctl holds, so it can go out before the answer.
 */
function attributesChanged(s: Session, h: RequestHeader): void {
  const size = notifyInvalInode(s.transport.out, h.nodeid, -1, 0);
  s.transport.notify(Notify.INVAL_INODE, size);
}

/** A directory compares its names otherwise than before: what the kernel knows of names that are not there is void. Kernels before 7.44 cannot be told. */
function namesChanged(s: Session): void {
  s.transport.notify(Notify.INC_EPOCH, 0);
}

/** BMAP, for FIBMAP and the swapper. @throws EINVAL for what has no blocks, or blocks of another size */
export function bmap(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { block, blocksize } = decodeBmap(m);
  return withDentry(s, task, h.nodeid, (dentry) => {
    const inode = inodeOf(dentry);
    const { a_ops } = inode.i_mapping;
    if (a_ops.bmap === undefined || blocksize !== inode.i_sb.s_blocksize) throw errno('EINVAL');
    return andThen(a_ops.bmap(task, inode.i_mapping, block), (found) => {
      s.transport.reply(h.unique, encodeBmap(s.transport.out, found));
    });
  });
}

/** SYNCFS: syncfs(2), or sync(2). It names no open file: of an error of writing back the first one is told. */
export function syncfs(s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return andThen(vfs_syncfs(task, s.sb, s), () => replyOk(s, h));
}
