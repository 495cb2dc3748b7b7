/** Where a walk along a path is, and what it may do (struct nameidata): the state that the walks under RCU and by reference share. */

import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { S_IFLNK, S_IFMT } from '../../uapi/stat.js';
import type { Dentry } from '../dentry.js';
import { isDir } from '../inode.js';
import { MAXSYMLINKS, mountpoint_of } from '../namespace.js';

/** A symlink at the end of the path is followed. */
export const LOOKUP_FOLLOW = 0x1;
/** What the path names must be a directory. */
export const LOOKUP_DIRECTORY = 0x2;
/** An empty path names the start. */
export const LOOKUP_EMPTY = 0x4000;
/** RESOLVE_* of openat2(2). */
export const LOOKUP_NO_SYMLINKS = 0x10000;
export const LOOKUP_NO_MAGICLINKS = 0x20000;
export const LOOKUP_NO_XDEV = 0x40000;
export const LOOKUP_BENEATH = 0x80000;
export const LOOKUP_IN_ROOT = 0x100000;
export const LOOKUP_CACHED = 0x200000;
/** The walk stays beneath where it begins. */
export const SCOPED = LOOKUP_BENEATH | LOOKUP_IN_ROOT;

/** Where a process is in the tree of names (struct fs_struct). */
export interface FsStruct {
  root: Dentry;
  cwd: Dentry;
}

/** The last component of a path. */
export interface Last {
  readonly name: string;
  readonly type: 'norm' | 'dot' | 'dotdot' | 'root';
  /** Slashes follow it: it must be a directory. */
  readonly slash: boolean;
}

/** A directory, with a reference, and a name in it. */
export interface ParentPath {
  readonly path: Dentry;
  readonly last: Last;
}

/** Whether a name is a symlink's. */
export function isLink(dentry: Dentry): boolean {
  return ((dentry.d_inode?.i_mode ?? 0) & S_IFMT) === S_IFLNK;
}

/** Whether a path names a directory: a negative dentry is none. */
export function isDirectory(path: Dentry): boolean {
  const { d_inode: inode } = path;
  return inode !== undefined && isDir(inode);
}

function typeOf(name: string): Last['type'] {
  if (name === '.') return 'dot';
  return name === '..' ? 'dotdot' : 'norm';
}

/** Cut the first component off. @returns it, and what is left without leading slashes */
export function split(path: string): { readonly last: Last; readonly rest: string } {
  const at = path.indexOf('/');
  if (at < 0) return { last: { name: path, type: typeOf(path), slash: false }, rest: '' };
  const name = path.slice(0, at);
  return { last: { name, type: typeOf(name), slash: true }, rest: path.slice(at).replace(/^\/+/, '') };
}

/** The last component of a path of slashes only. */
export const ROOT_ONLY: Last = { name: '', type: 'root', slash: true };

/** The state of one walk (struct nameidata). */
export class Walk {
  readonly task: Task;
  readonly fs: FsStruct;
  readonly flags: number;
  /** Where '/' and '..' end: the process's root, or the start of a scoped walk. */
  readonly root: Dentry;
  /** With a reference, but in an RCU walk. */
  path: Dentry;
  links = 0;

  constructor(task: Task, fs: FsStruct, start: Dentry, flags: number) {
    this.task = task;
    this.fs = fs;
    this.flags = flags;
    this.root = (flags & SCOPED) !== 0 ? start : fs.root;
    this.path = start;
  }

  is(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** Another symlink is to be followed. @throws ELOOP where that is one too many, or none may be */
  countLink(): void {
    if (++this.links > MAXSYMLINKS || this.is(LOOKUP_NO_SYMLINKS)) throw errno('ELOOP');
  }

  /** @throws EXDEV for an absolute path that must stay beneath its start */
  checkAbsolute(): void {
    if (this.is(LOOKUP_BENEATH)) throw errno('EXDEV');
    if (this.is(LOOKUP_NO_XDEV) && this.root.d_sb !== this.path.d_sb) throw errno('EXDEV');
  }

  /** The directory above, across mounts; the root is above itself (follow_dotdot). No reference. @throws EXDEV */
  above(): Dentry {
    let dentry = this.path;
    for (;;) {
      if (dentry === this.root) {
        if (this.is(LOOKUP_BENEATH)) throw errno('EXDEV');
        return dentry;
      }
      if (!dentry.isRoot) return dentry.d_parent;
      const below = mountpoint_of(dentry);
      if (below === undefined) return dentry;
      if (this.is(LOOKUP_NO_XDEV)) throw errno('EXDEV');
      dentry = below;
    }
  }
}
