/** Checking directories: their entries, and that everything has as many names as it says. */
import { nameKey } from '../dir.js';
import { checkDirectory } from '../dir-check.js';
import { ROOT_INO } from '../format/layout.js';
import type { FsckContext, Seen } from './context.js';
import { S_IFDIR } from './inodes.js';
import { hostOf } from './trees.js';

const S_IFMT = 0o170000;

export function isDirectory(seen: Seen): boolean {
  return (seen.disk.mode & S_IFMT) === S_IFDIR;
}

/** Go through the entries of every directory. */
export async function checkDirectories(context: FsckContext): Promise<void> {
  for (const seen of context.inodes.values()) {
    if (isDirectory(seen)) await checkEntries(context, seen);
  }
}

async function checkEntries(context: FsckContext, dir: Seen): Promise<void> {
  const where = `directory ${dir.ino}`;
  const { hashKey } = context.super;
  const hash = { k0: hashKey.readUInt32LE(0), k1: hashKey.readUInt32LE(4) };
  const area = dir.area ?? Buffer.alloc(0);
  const keyOf = (name: string): number => nameKey(hash, name);
  await checkDirectory(context.task, hostOf(context, dir.ino, dir.disk), area, context.super.blocks, keyOf, {
    problem: ({ message, entry }) => {
      // What is wrong with the tree was told with the inode's blocks.
      if (entry !== undefined) context.problem(where, message);
    },
    node: () => true,
    entry: (name, ino, type) => checkEntry(context, dir, name, ino, type),
  });
}

/** One name. */
export function checkEntry(context: FsckContext, dir: Seen, name: string, ino: number, type: number): void {
  const where = `directory ${dir.ino}, name ${JSON.stringify(name)}`;
  const child = context.inodes.get(ino);
  if (child === undefined) {
    context.problem(where, `names inode ${ino}, which is free`);
    return;
  }
  child.names++;
  const real = (child.disk.mode & S_IFMT) >>> 12;
  if (type !== real) context.problem(where, `says type ${type}, inode ${ino} has type ${real}`);
  if (!isDirectory(child)) return;
  dir.subdirectories++;
  if (child.foundIn !== undefined)
    context.problem(where, `names directory ${ino}, which has a name in ${child.foundIn}`);
  child.foundIn = dir.ino;
  if (child.disk.parent !== dir.ino) {
    context.problem(`directory ${ino}`, `its '..' is ${child.disk.parent}, and it is in ${dir.ino}`);
  }
}

/** Link counts, and that everything can be reached. */
export function checkLinks(context: FsckContext): void {
  for (const seen of context.inodes.values()) {
    const where = `inode ${seen.ino}`;
    const { nlink } = seen.disk;
    if (seen.ino === ROOT_INO) {
      if (seen.foundIn !== undefined) context.problem(where, `the root has a name in ${seen.foundIn}`);
      if (seen.disk.parent !== ROOT_INO) context.problem(where, `the root's '..' is ${seen.disk.parent}`);
    } else if (seen.names === 0 && nlink > 0) context.problem(where, `has ${nlink} links and no name`);
    const right = isDirectory(seen) && (nlink > 0 || seen.names > 0) ? 2 + seen.subdirectories : seen.names;
    if (nlink !== right && (seen.names > 0 || seen.ino === ROOT_INO)) {
      context.problem(where, `has ${nlink} links, ${right} are right`);
    }
    if (nlink === 0 && seen.names === 0 && !seen.orphan) {
      context.problem(where, 'has no name, and is not on the orphan list');
    }
    if (isDirectory(seen) && seen.names > 0) checkReach(context, seen);
  }
}

/** A directory leads up to the root. */
function checkReach(context: FsckContext, seen: Seen): void {
  const passed = new Set<number>();
  for (let dir: Seen | undefined = seen; dir !== undefined && dir.ino !== ROOT_INO; ) {
    if (passed.has(dir.ino)) {
      // Told once, by the one with the lowest number.
      if (Math.min(...passed) === seen.ino) context.problem(`directory ${seen.ino}`, 'is in a circle of directories');
      return;
    }
    passed.add(dir.ino);
    dir = dir.foundIn === undefined ? undefined : context.inodes.get(dir.foundIn);
  }
}
