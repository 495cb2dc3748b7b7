/** ioctl(2) (fs/ioctl.c): what every filesystem answers, and the flags of chattr. */
import { file_operations } from '../contract/file.js';
import { inode_operations } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { File } from './file.js';
import { I_MUTEX_NORMAL } from './inode.js';
import { isReadOnly } from './super.js';

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FIGETBSZ = 2;
const FS_IMMUTABLE_FL = 0x10;
const FS_APPEND_FL = 0x20;

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/** @param arg the bytes that the caller passed. @returns the bytes for the caller. @throws ENOTTY EPERM EROFS */
export async function vfs_ioctl(task: Task, file: File, cmd: number, arg: Buffer): Promise<Buffer> {
  if (cmd === FIGETBSZ) return word(file.f_inode.i_sb.s_blocksize);
  if (cmd === FS_IOC_GETFLAGS) return word(await getFlags(task, file));
  if (cmd === FS_IOC_SETFLAGS) {
    await setFlags(task, file, arg.readInt32LE(0));
    return Buffer.alloc(0);
  }
  const { unlocked_ioctl } = file.f_op;
  if (unlocked_ioctl === undefined) throw errno('ENOTTY');
  const answer = await call(task, file_operations.unlocked_ioctl, {}, () => unlocked_ioctl(task, file, cmd, arg));
  return typeof answer === 'number' ? Buffer.alloc(0) : answer;
}

async function getFlags(task: Task, file: File): Promise<number> {
  const { fileattr_get } = file.f_inode.i_op;
  if (fileattr_get === undefined) throw errno('ENOTTY');
  const participants = { 'inode/get': file.f_inode.i_rwsem };
  const attr = await call(task, inode_operations.fileattr_get, participants, () => fileattr_get(task, file.f_dentry));
  return attr.flags;
}

async function setFlags(task: Task, file: File, flags: number): Promise<void> {
  const { f_inode: inode } = file;
  const { fileattr_set, fileattr_get } = inode.i_op;
  if (fileattr_set === undefined || fileattr_get === undefined) throw errno('ENOTTY');
  if (isReadOnly(inode.i_sb)) throw errno('EROFS');
  if (task.cred.uid !== inode.i_uid && !task.cred.capable('CAP_FOWNER')) throw errno('EPERM');
  using _held = await take(task, inode_operations.fileattr_set, 'inode', inode.i_rwsem, I_MUTEX_NORMAL);
  const old = await call(task, inode_operations.fileattr_get, { 'inode/set': inode.i_rwsem }, () =>
    fileattr_get(task, file.f_dentry),
  );
  const guarded = FS_IMMUTABLE_FL | FS_APPEND_FL;
  if (((old.flags ^ flags) & guarded) !== 0 && !task.cred.capable('CAP_LINUX_IMMUTABLE')) throw errno('EPERM');
  await call(task, inode_operations.fileattr_set, { inode: inode.i_rwsem }, () =>
    fileattr_set(task, file.f_dentry, { ...old, flags }),
  );
}
