/** Checking directories: that entries name what exists, and that everything hangs together (passes 2 and 3 of e2fsck). */

import { S_IFMT } from '../../uapi/stat.js';
import { ROOT_INO } from '../format/layout.js';
import type { FsckContext } from './context.js';
import { type DirEntry, editsOf, isDirectory, type Seen } from './seen.js';
import { forEachEntry } from './trees.js';

/** A name of a directory. */
interface Place {
  readonly dir: Seen;
  readonly entry: DirEntry;
}

/** Go through the entries of every directory. */
export async function checkDirectories(context: FsckContext): Promise<void> {
  const places = new Map<Seen, Place[]>();
  for (const dir of context.inodes.values()) {
    if (isDirectory(dir)) await forEachEntry(context, dir, (entry) => checkEntry(context, places, { dir, entry }));
  }
  for (const [child, list] of places) choose(context, child, list);
  const reached = new Set<number>();
  for (const dir of context.inodes.values()) if (isDirectory(dir)) checkReach(context, dir, reached);
}

function whereOf({ dir, entry }: Place): string {
  return `directory ${dir.ino}, name ${JSON.stringify(entry.name)}`;
}

function drop({ dir, entry }: Place): void {
  editsOf(dir).drop.add(entry.key);
}

function checkEntry(context: FsckContext, places: Map<Seen, Place[]>, place: Place): void {
  const { dir, entry } = place;
  const child = context.inodes.get(entry.ino);
  if (child === undefined) {
    context.problem(whereOf(place), `names inode ${entry.ino}, which is free`);
    drop(place);
    return;
  }
  const real = (child.disk.mode & S_IFMT) >>> 12;
  if (entry.type !== real) {
    context.problem(whereOf(place), `says type ${entry.type}, inode ${entry.ino} has type ${real}`, 'safe');
    editsOf(dir).retype.set(entry.key, real);
  }
  if (!isDirectory(child)) {
    child.names++;
    return;
  }
  const list = places.get(child);
  if (list === undefined) places.set(child, [place]);
  else list.push(place);
}

/** A directory has one name: of several the one where its '..' leads. */
function choose(context: FsckContext, child: Seen, places: readonly Place[]): void {
  const { ino } = child;
  if (ino === ROOT_INO) {
    for (const place of places) {
      context.problem(whereOf(place), `names the root, which has no name`);
      drop(place);
    }
    return;
  }
  const right = places.find(({ dir }) => dir.ino === child.disk.parent) ?? places[0];
  if (right === undefined) return;
  for (const place of places) {
    if (place === right) continue;
    context.problem(whereOf(place), `names directory ${ino}, which has a name in ${right.dir.ino}`);
    drop(place);
  }
  child.names = 1;
  child.foundIn = { dir: right.dir.ino, key: right.entry.key };
  if (child.disk.parent === right.dir.ino) return;
  context.problem(`directory ${ino}`, `its '..' is ${child.disk.parent}, and it is in ${right.dir.ino}`, 'safe');
  setParent(child, right.dir.ino);
}

/** Let '..' of a directory lead elsewhere. */
export function setParent(child: Seen, parent: number): void {
  child.disk = { ...child.disk, parent };
  child.dirty = true;
}

/**
 * A directory leads up to the root, or to one without a name. The first one of a circle loses its name.
 * @param reached directories of which that is known; those on the way up are added
 */
function checkReach(context: FsckContext, seen: Seen, reached: Set<number>): void {
  const passed = new Set<number>();
  for (let dir: Seen | undefined = seen; dir?.foundIn !== undefined; dir = context.inodes.get(dir.foundIn.dir)) {
    if (reached.has(dir.ino)) break;
    if (!passed.has(dir.ino)) {
      passed.add(dir.ino);
      continue;
    }
    context.problem(`directory ${dir.ino}`, 'is in a circle of directories');
    const above = context.inodes.get(dir.foundIn.dir);
    if (above !== undefined) editsOf(above).drop.add(dir.foundIn.key);
    dir.names = 0;
    dir.foundIn = undefined;
    break;
  }
  for (const ino of passed) reached.add(ino);
}
