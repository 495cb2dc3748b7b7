/** Attributes: GETATTR, SETATTR, STATX, ACCESS, STATFS, and extended attributes. */

import { notify_change, sets_nothing } from '../../fs/attr.js';
import { mode_without_suidgid } from '../../fs/attr-privs.js';
import { type Dentry, inodeOf } from '../../fs/dentry.js';
import { inode_owner_or_capable } from '../../fs/inode-owner.js';
import { inode_permission } from '../../fs/namei/permission.js';
import { vfs_statfs } from '../../fs/super.js';
import type { Iattr } from '../../fs/types.js';
import { vfs_getxattr, vfs_listxattr, vfs_removexattr, vfs_setxattr } from '../../fs/xattr.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { ERRNO, errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { S_IFMT, S_IFREG } from '../../uapi/stat.js';
import { FATTR } from '../protocol/flags.js';
import type { Message } from '../protocol/message.js';
import { decodeAccess, decodeSetattr, decodeStatx } from '../protocol/read-files.js';
import { decodeGetxattr, decodeListxattr, decodeRemovexattr, decodeSetxattr } from '../protocol/read-names.js';
import type { RequestHeader, SetattrIn, SetxattrIn } from '../protocol/requests.js';
import { encodeBytes, encodeGetxattr, encodeStatfs, encodeStatx } from '../protocol/write.js';
import type { Session } from '../session.js';
import { callsOtherThanChown } from './caller-memory.js';
import { withDentry } from './names.js';
import { attrValidity, replyAttr, replyDone, statOf } from './reply.js';

/** STATX_BASIC_STATS | STATX_BTIME */
const STATX_FILLED = 0xfff;

/** GETATTR (vfs_getattr). */
export function getattr(s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return withDentry(s, task, h.nodeid, replyAttr, h);
}

/** STATX (vfs_getattr). */
export function statx(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  decodeStatx(m);
  return withDentry(s, task, h.nodeid, (dentry) =>
    andThen(statOf(task, dentry), (stat) => {
      const size = encodeStatx(s.transport.out, attrValidity(s, dentry, stat), {
        ...stat,
        mask: stat.btime === undefined ? STATX_FILLED & ~0x800 : STATX_FILLED,
        btime: stat.btime ?? { sec: 0, nsec: 0 },
        rdev_major: (stat.rdev & 0xfff00) >>> 8,
        rdev_minor: (stat.rdev & 0xff) | ((stat.rdev >>> 12) & 0xfff00),
        dev_major: 0,
        dev_minor: 0,
      });
      s.transport.reply(h.unique, size);
    }),
  );
}

/** What a SETATTR asks for, as the VFS says it. */
function iattrOf(s: Session, request: SetattrIn): Iattr {
  const { valid } = request;
  const attr: Iattr = {};
  if ((valid & FATTR.MODE) !== 0) attr.mode = request.mode & 0o7777;
  if ((valid & FATTR.UID) !== 0) attr.uid = request.uid;
  if ((valid & FATTR.GID) !== 0) attr.gid = request.gid;
  if ((valid & FATTR.SIZE) !== 0) attr.size = request.size;
  if ((valid & FATTR.ATIME) !== 0) attr.atime = (valid & FATTR.ATIME_NOW) !== 0 ? 'now' : request.atime;
  if ((valid & FATTR.MTIME) !== 0) attr.mtime = (valid & FATTR.MTIME_NOW) !== 0 ? 'now' : request.mtime;
  if ((valid & FATTR.CTIME) !== 0) attr.ctime = request.ctime;
  if ((valid & FATTR.KILL_SUIDGID) !== 0) attr.kill_suidgid = true;
  if ((valid & FATTR.FH) !== 0) {
    const file = s.handles.find(request.fh);
    if (file !== undefined) attr.file = file;
  }
  return attr;
}

/**
 * A request that sets nothing is chown(2) of nobody to nobody, which takes setuid and setgid away, or announces a write that will do so itself, where it does: the
 * kernel sends the same for both, and checks for neither whose file it is. Who may keep these bits, and writes to a file that had capabilities, is known by his
 * system call.
 */
function announces(task: Task, dentry: Dentry, attr: Iattr): Awaitable<boolean> {
  if (!sets_nothing(attr)) return false;
  const inode = inodeOf(dentry);
  // Nobody writes to a directory, and a pipe or a device is no file of ours to write to.
  if ((inode.i_mode & S_IFMT) !== S_IFREG) return false;
  if (!inode_owner_or_capable(task, inode)) return true;
  const loses = mode_without_suidgid(task, inode) !== (inode.i_mode & 0o7777);
  return loses && task.cred.capable('CAP_FSETID') ? callsOtherThanChown(task.pid) : false;
}

/** SETATTR (notify_change): also truncate and ftruncate. @throws what notify_change throws */
export function setattr(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, setAttrOf, h, iattrOf(s, decodeSetattr(m)));
}

function setAttrOf(dentry: Dentry, s: Session, task: Task, h: RequestHeader, attr: Iattr): Awaitable<void> {
  const done = andThen(announces(task, dentry, attr), changeUnlessAnnounced, task, dentry, attr);
  return andThen(done, replyChanged, dentry, s, task, h);
}

function changeUnlessAnnounced(announced: boolean, task: Task, dentry: Dentry, attr: Iattr): Awaitable<void> {
  return announced ? undefined : notify_change(task, dentry, attr);
}

function replyChanged(_done: void, dentry: Dentry, s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return replyAttr(dentry, s, task, h);
}

/** ACCESS (inode_permission), without default_permissions. @throws EACCES EROFS */
export function access(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, mayAccess, h, decodeAccess(m).mask);
}

function mayAccess(dentry: Dentry, s: Session, task: Task, h: RequestHeader, mask: number): Awaitable<void> {
  return andThen(inode_permission(task, inodeOf(dentry), mask), replyDone, s, h);
}

/** STATFS (vfs_statfs). */
export function statfs(s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return withDentry(s, task, h.nodeid, (dentry) =>
    andThen(vfs_statfs(task, dentry), (st) => {
      const size = encodeStatfs(s.transport.out, {
        blocks: st.f_blocks,
        bfree: st.f_bfree,
        bavail: st.f_bavail,
        files: st.f_files,
        ffree: st.f_ffree,
        bsize: st.f_bsize,
        namelen: st.f_namelen,
        frsize: st.f_frsize,
      });
      s.transport.reply(h.unique, size);
    }),
  );
}

/** SETXATTR (vfs_setxattr). */
export function setxattr(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, setXattrOf, h, decodeSetxattr(m, s.wire));
}

function setXattrOf(dentry: Dentry, s: Session, task: Task, h: RequestHeader, request: SetxattrIn): Awaitable<void> {
  const { name, value, flags } = request;
  return andThen(vfs_setxattr(task, dentry, name, value, flags), replyDone, s, h);
}

/** Answer with `value`, or with its size where `room` is 0. @throws ERANGE where it does not fit */
function replyValue(s: Session, h: RequestHeader, value: Buffer, room: number): void {
  const { out } = s.transport;
  if (room === 0) s.transport.reply(h.unique, encodeGetxattr(out, value.length));
  else if (value.length > room) throw errno('ERANGE');
  else s.transport.reply(h.unique, encodeBytes(out, value));
}

/** GETXATTR (vfs_getxattr). @throws ENODATA; ERANGE where there is too little room */
export function getxattr(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { name, size } = decodeGetxattr(m);
  return withDentry(s, task, h.nodeid, getXattrOf, h, name, size);
}

function getXattrOf(
  dentry: Dentry,
  s: Session,
  task: Task,
  h: RequestHeader,
  name: string,
  room: number,
): Awaitable<void> {
  return andThen(vfs_getxattr(task, dentry, name), sendValue, s, h, room);
}

function sendValue(value: Buffer | undefined, s: Session, h: RequestHeader, room: number): void {
  if (value === undefined) s.transport.replyError(h.unique, ERRNO.ENODATA);
  else replyValue(s, h, value, room);
}

/** LISTXATTR (vfs_listxattr). @throws ERANGE where there is too little room */
export function listxattr(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { size } = decodeListxattr(m);
  return withDentry(s, task, h.nodeid, listXattrsOf, h, size);
}

function listXattrsOf(dentry: Dentry, s: Session, task: Task, h: RequestHeader, room: number): Awaitable<void> {
  return andThen(vfs_listxattr(task, dentry), sendNames, s, h, room);
}

function sendNames(names: readonly string[], s: Session, h: RequestHeader, room: number): void {
  const list = names.length === 0 ? '' : `${names.join('\0')}\0`;
  replyValue(s, h, Buffer.from(list, 'latin1'), room);
}

/** REMOVEXATTR (vfs_removexattr). @throws ENODATA */
export function removexattr(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { name } = decodeRemovexattr(m);
  return withDentry(s, task, h.nodeid, removeXattrOf, h, name);
}

function removeXattrOf(dentry: Dentry, s: Session, task: Task, h: RequestHeader, name: string): Awaitable<void> {
  return andThen(vfs_removexattr(task, dentry, name), replyDone, s, h);
}
