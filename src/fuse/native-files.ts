/** Paths and directories as fuse-native's callbacks need them: each names its file by a path, and gets a directory as a whole. */

import { dget, dput } from '../fs/dcache.js';
import type { Dentry } from '../fs/dentry.js';
import type { File } from '../fs/file.js';
import { fput } from '../fs/file-table.js';
import { lookup_one } from '../fs/namei.js';
import { vfs_open } from '../fs/open.js';
import { iterate_dir } from '../fs/readdir.js';
import type { SuperBlock } from '../fs/super-block.js';
import { folio_put } from '../mm/folio.js';
import { IovIter } from '../mm/iov-iter.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { splitPath, textOf } from './native-values.js';
import { read_whole } from './ops/whole-read.js';

/** Run `body` with what `path` names. @throws ENOENT ENOTDIR ENAMETOOLONG */
export async function with_path<T>(
  task: Task,
  sb: SuperBlock,
  path: string,
  body: (dentry: Dentry) => Awaitable<T>,
): Promise<T> {
  const dentry = await walk(task, sb, splitPath(path));
  try {
    if (dentry.isNegative) throw errno('ENOENT');
    return await body(dentry);
  } finally {
    await dput(task, dentry);
  }
}

/** Run `body` with the directory of `path` and the last name of it. @throws ENOENT ENOTDIR ENAMETOOLONG */
export async function with_parent<T>(
  task: Task,
  sb: SuperBlock,
  path: string,
  body: (dir: Dentry, last: string) => Awaitable<T>,
): Promise<T> {
  const names = splitPath(path);
  const last = names.pop() ?? '.';
  const dir = await walk(task, sb, names);
  try {
    return await body(dir, last);
  } finally {
    await dput(task, dir);
  }
}

async function walk(task: Task, { s_root: root }: SuperBlock, names: readonly string[]): Promise<Dentry> {
  if (root === undefined) throw errno('ENOENT');
  let at = dget(root);
  for (const name of names) {
    const parent = at;
    try {
      at = await lookup_one(task, parent, name);
    } finally {
      await dput(task, parent);
    }
  }
  return at;
}

/** Run `body` with a file or directory that is opened to read for so long. */
export async function with_opened<T>(task: Task, dentry: Dentry, body: (file: File) => Awaitable<T>): Promise<T> {
  const file = await vfs_open(task, dentry, 0);
  try {
    return await body(file);
  } finally {
    await fput(task, file);
  }
}

/** All names of a directory, and of each its number and type. @throws ENOTDIR EIO */
export function listed(task: Task, dentry: Dentry): Promise<unknown[]> {
  return with_opened(task, dentry, async (file) => {
    const names: string[] = [];
    const stats: object[] = [];
    const context = {
      pos: 0,
      actor: (name: string, ino: number, type: number): boolean => {
        names.push(textOf(name));
        stats.push({ ino, mode: type << 12, mtime: 0, atime: 0, ctime: 0 });
        return true;
      },
    };
    await iterate_dir(task, file, context);
    return [names, stats];
  });
}

/** Read up to `length` bytes from `offset` on. @returns how many there are @throws EIO */
export async function read_into(task: Task, file: File, room: Buffer, length: number, offset: number): Promise<number> {
  const iter = IovIter.ofDest(length);
  try {
    await read_whole(task, file, iter, offset, {}, false);
    let at = 0;
    for (const segment of iter.segments) at += segment.copy(room, at);
    return at;
  } finally {
    for (const folio of iter.folios) folio_put(folio);
  }
}
