/** System calls on whole filesystems: statfs, ustat, remounting, unmounting; and what /proc shows of descriptors and mounts. */

import { file_operations } from '../../contract/file.js';
import { call } from '../../locking/context.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW } from '../../uapi/fcntl.js';
import { MNT_DETACH, MNT_EXPIRE, MNT_FORCE, UMOUNT_NOFOLLOW } from '../../uapi/mount.js';
import { d_path } from '../d-path.js';
import { dput } from '../dcache.js';
import type { Dentry } from '../dentry.js';
import { dirOf } from '../namei/lookup.js';
import { detach_mount, do_add_mount, mounts_of, show_mount_options } from '../namespace.js';
import { overlayFsType } from '../overlayfs/super.js';
import { do_remount, kill_sb, umount_begin, user_statfs, vfs_mount, vfs_statfs } from '../super.js';
import { SB_RDONLY, type SuperBlock } from '../super-block.js';
import type { Kstatfs } from '../types.js';
import { startOf, user_path_at, withPath } from './path.js';
import type { Process } from './process.js';

/** statfs(2). @throws ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function statfs(task: Task, p: Process, name: string): Awaitable<Kstatfs> {
  return withPath(task, user_path_at(task, p, AT_FDCWD, name, 0), (path) => vfs_statfs(task, path));
}

/** fstatfs(2). @throws EBADF */
export function fstatfs(task: Task, p: Process, fd: number): Awaitable<Kstatfs> {
  return vfs_statfs(task, p.files.getAny(fd).f_dentry);
}

/** ustat(2): by device, not by path. @param dev the device, here the superblock on it @throws EINVAL where nothing of it is mounted */
export function ustat(task: Task, _p: Process, dev: SuperBlock): Awaitable<{ f_tfree: number; f_tinode: number }> {
  if (dev.s_root === undefined) throw errno('EINVAL');
  return andThen(user_statfs(task, dev), ({ f_bfree, f_ffree }) => ({ f_tfree: f_bfree, f_tinode: f_ffree }));
}

/** mount(2) with MS_REMOUNT. @param flags SB_* @param data options of the filesystem @throws EPERM EBUSY EINVAL EROFS */
export function remount(task: Task, p: Process, name: string, flags: number, data = ''): Awaitable<void> {
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  return withPath(task, user_path_at(task, p, AT_FDCWD, name, 0), (path) => {
    if (!path.isRoot) throw errno('EINVAL');
    return do_remount(task, path.d_sb, flags, data);
  });
}

/**
 * mount(2) of an overlay of directories, to be read only, as `-t overlay -o lowerdir=A:B` has it.
 * @param lowerdir the layers, topmost first
 * @throws EPERM; ENOTDIR EINVAL for what is no directory, or no layer at all; EBUSY where something is mounted there
 */
export async function mount_overlay(task: Task, p: Process, name: string, lowerdir: readonly string[]): Promise<void> {
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  if (lowerdir.length === 0) throw errno('EINVAL');
  const layers: Dentry[] = [];
  try {
    for (const lower of lowerdir) {
      const layer = await user_path_at(task, p, AT_FDCWD, lower, 0);
      layers.push(layer);
      dirOf(layer);
    }
    const sb = await vfs_mount(p.machine, overlayFsType(layers), undefined, SB_RDONLY);
    const { s_root: root } = sb;
    if (root === undefined) throw errno('EIO');
    try {
      await withPath(task, user_path_at(task, p, AT_FDCWD, name, 0), (path) => {
        dirOf(path);
        return do_add_mount(task, { mnt_sb: sb, mnt_root: root, kill: () => kill_sb(sb) }, path);
      });
    } catch (error) {
      await kill_sb(sb);
      throw error;
    }
  } finally {
    for (const layer of layers) await dput(task, layer);
  }
}

/**
 * umount2(2) of what is mounted within the tree. With MNT_FORCE requests that are stuck are ended first (->umount_begin).
 * @throws EPERM; EINVAL where nothing is mounted there; EBUSY for the root, and for what others are mounted on
 */
export async function umount2(task: Task, p: Process, name: string, flags: number): Promise<void> {
  if ((flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW)) !== 0) throw errno('EINVAL');
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  const how = (flags & UMOUNT_NOFOLLOW) === 0 ? 0 : AT_SYMLINK_NOFOLLOW;
  const root = await withPath(task, user_path_at(task, p, AT_FDCWD, name, how), (path) => {
    if (!path.isRoot) throw errno('EINVAL');
    return path;
  });
  if ((flags & MNT_FORCE) !== 0) await umount_begin(task, root.d_sb);
  if (root === p.fs.root) throw errno('EBUSY');
  await detach_mount(task, root);
}

/** /proc/self/mounts, one line a mount. Takes namespace_sem shared. */
export async function show_mounts(task: Task, p: Process): Promise<string> {
  let text = '';
  for (const sb of [p.fs.root.d_sb, ...mounts_of(p.machine).map((mount) => mount.mnt_sb)]) {
    const { s_root: root } = sb;
    const place = root === undefined ? '/' : d_path(task, root, p.fs.root);
    text += `${sb.s_id} ${place} ${sb.s_type} ${await show_mount_options(task, sb)}\n`;
  }
  return text;
}

/** /proc/self/fd/N: what a descriptor is open on. */
export function fd_path(task: Task, p: Process, fd: number): string {
  p.files.getAny(fd);
  return d_path(task, startOf(p, fd), p.fs.root);
}

/** /proc/self/fdinfo/N (seq_show of fs/proc/fd.c). */
export async function fdinfo(task: Task, p: Process, fd: number): Promise<string> {
  const file = p.files.getAny(fd);
  const { show_fdinfo } = file.f_op;
  const own =
    show_fdinfo === undefined ? '' : await call(task, file_operations.show_fdinfo, {}, () => show_fdinfo(task, file));
  const flags = file.f_flags.toString(8).padStart(2, '0');
  return `pos:\t${file.f_pos}\nflags:\t0${flags}\nino:\t${file.f_inode.i_ino}\n${own}`;
}
