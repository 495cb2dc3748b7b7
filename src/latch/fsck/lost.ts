/** Names in /lost+found for what has none, and a root where there is none (pass 3 of e2fsck). */

import { DT_DIR } from '../../uapi/dirent.js';
import { S_IFMT } from '../../uapi/stat.js';
import { emptyDirectory } from '../format/inode.js';
import { ROOT_INO } from '../format/layout.js';
import type { FsckContext } from './context.js';
import { setParent } from './dirs.js';
import { editsOf, isDirectory, newSeen, type Seen } from './seen.js';
import type { Space } from './space.js';
import { forEachEntry } from './trees.js';

const NAME = 'lost+found';

/** Give every inode without a name one: '#' and its number. @throws ENOSPC */
export async function connect(context: FsckContext, nameless: readonly Seen[], space: Space): Promise<void> {
  const root = context.inodes.get(ROOT_INO) ?? newDirectory(context, ROOT_INO, ROOT_INO, 0o755);
  if (nameless.length === 0) return;
  const dir = await lostAndFound(context, root, space);
  const taken = new Set<string>();
  await forEachEntry(context, dir, ({ name }) => taken.add(name));
  for (const seen of nameless) {
    if (seen === root || seen === dir) continue;
    const name = freeName(taken, `#${seen.ino}`);
    editsOf(dir).add.push({ name, ino: seen.ino, type: (seen.disk.mode & S_IFMT) >>> 12 });
    seen.names = 1;
    if (!isDirectory(seen)) continue;
    dir.subdirectories++;
    seen.foundIn = { dir: dir.ino, key: -1 };
    if (seen.disk.parent !== dir.ino) setParent(seen, dir.ino);
  }
}

function freeName(taken: Set<string>, wanted: string): string {
  let name = wanted;
  for (let i = 1; taken.has(name); i++) name = `${wanted}.${i}`;
  taken.add(name);
  return name;
}

async function lostAndFound(context: FsckContext, root: Seen, space: Space): Promise<Seen> {
  const taken = new Set<string>();
  let found: Seen | undefined;
  await forEachEntry(context, root, ({ name, ino, key }) => {
    taken.add(name);
    const seen = context.inodes.get(ino);
    const usable = name === NAME && seen !== undefined && isDirectory(seen) && seen.foundIn?.dir === ROOT_INO;
    if (usable && root.edits?.drop.has(key) !== true) found = seen;
  });
  if (found !== undefined) return found;
  const dir = newDirectory(context, space.inode(), ROOT_INO, 0o700);
  editsOf(root).add.push({ name: freeName(taken, NAME), ino: dir.ino, type: DT_DIR });
  dir.names = 1;
  dir.foundIn = { dir: ROOT_INO, key: -1 };
  root.subdirectories++;
  return dir;
}

/** An empty directory in a slot that is free. */
function newDirectory(context: FsckContext, ino: number, parent: number, permissions: number): Seen {
  const disk = emptyDirectory(parent, permissions, context.super.generation, context.task.sched.realtime());
  context.super.generation = (context.super.generation + 1) >>> 0;
  const seen = newSeen(ino, disk);
  seen.dirty = true;
  seen.entries = [];
  context.inodes.set(ino, seen);
  context.cleared.delete(ino);
  return seen;
}
