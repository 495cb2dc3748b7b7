/** How fuse-native writes what the VFS has: names as text, times in milliseconds, paths in one string. */
import type { Kstat } from '../fs/types.js';
import type { Timespec } from '../sched/time.js';

const MS = 1000;
const NS_PER_MS = 1_000_000;

/** A name or target as the package has it (UTF-8 decoded) in the bytes that the VFS has. */
export function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** A name as text. Bytes that are not UTF-8 cannot be carried. */
export function textOf(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

/** The names along an absolute path. */
export function splitPath(path: string): string[] {
  return bytesOf(path)
    .split('/')
    .filter((name) => name !== '');
}

/** A time from milliseconds. */
export function timeOf(ms: number): Timespec {
  const sec = Math.floor(ms / MS);
  return { sec, nsec: Math.round((ms - sec * MS) * NS_PER_MS) };
}

/** A time in milliseconds; before 1970 there is none here. */
function msOf(time: Timespec): number {
  return Math.max(0, time.sec * MS + Math.floor(time.nsec / NS_PER_MS));
}

/** The attributes in the package's form. */
export function statOf(stat: Kstat): object {
  const { mode, uid, gid, size, nlink, ino, rdev, blksize, blocks } = stat;
  const times = { atime: msOf(stat.atime), mtime: msOf(stat.mtime), ctime: msOf(stat.ctime) };
  return { mode, uid, gid, size, nlink, ino, rdev, blksize, blocks, dev: 0, ...times };
}
