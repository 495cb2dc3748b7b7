/** Who owns what is made, and which groups the caller is of (fs/inode.c). */

import type { Task } from '../sched/task.js';
import { S_IFDIR, S_IFMT, S_ISGID, S_IXGRP } from '../uapi/stat.js';
import { type Inode, inode_init } from './inode.js';

/** Owner, group and mode of a new inode: a setgid directory passes its group on (inode_init_owner). */
export function inode_init_owner(task: Task, inode: Inode, dir: Inode | undefined, mode: number): void {
  const attrs = inode_init(inode);
  attrs.i_uid = task.cred.uid;
  attrs.i_gid = task.cred.gid;
  let bits = mode;
  if (dir !== undefined && (dir.i_mode & S_ISGID) !== 0) {
    attrs.i_gid = dir.i_gid;
    if ((mode & S_IFMT) === S_IFDIR) bits |= S_ISGID;
    else bits = mode_strip_sgid(task, dir, bits);
  }
  attrs.i_mode = bits;
}

/** Who is not of a directory's group may not make a program that runs with it (mode_strip_sgid). */
export function mode_strip_sgid(task: Task, dir: Inode, mode: number): number {
  if ((mode & (S_ISGID | S_IXGRP)) !== (S_ISGID | S_IXGRP)) return mode;
  if ((mode & S_IFMT) === S_IFDIR || (dir.i_mode & S_ISGID) === 0) return mode;
  return inGroup(task, dir.i_gid) ? mode : mode & ~S_ISGID;
}

/** Whether the caller is of a group or stands above groups (in_group_or_capable with CAP_FSETID). */
export function inGroup(task: Task, gid: number): boolean {
  return task.cred.gid === gid || task.cred.capable('CAP_FSETID') || task.cred.groups().includes(gid);
}

/** Whether the caller is the owner or stands above owners (inode_owner_or_capable). */
export function inode_owner_or_capable(task: Task, inode: Inode): boolean {
  return task.cred.uid === inode.i_uid || task.cred.capable('CAP_FOWNER');
}
