/** The orphan list, link counts, and inodes without a name, which get one in lost+found (pass 4 of e2fsck). */

import { S_IFREG } from '../../uapi/stat.js';
import { ROOT_INO } from '../format/layout.js';
import type { FsckContext } from './context.js';
import { setParent } from './dirs.js';
import { isDirectory, type Seen, typeOf } from './seen.js';

/** The orphan list: each of its inodes is one, and it ends. @returns the list as it shall be, where it is damaged */
export function checkOrphans(context: FsckContext): number[] | undefined {
  const list: number[] = [];
  let damaged = false;
  const tell = (where: string, what: string): void => {
    damaged = true;
    context.problem(where, what);
  };
  let from = 'superblock';
  for (let ino = context.super.orphan; ino !== 0; ) {
    const seen = context.inodes.get(ino);
    if (seen === undefined) tell(from, `the orphan list goes on with inode ${ino}, which is free`);
    else if (seen.orphan) tell(from, `the orphan list goes on with inode ${ino}, where it has been`);
    else if (ino === ROOT_INO) tell(from, 'the orphan list goes on with the root');
    if (seen === undefined || seen.orphan || ino === ROOT_INO) break;
    const next = seen.disk.nextOrphan;
    if (isLeft(seen) || typeOf(seen.disk) === S_IFREG) {
      seen.orphan = true;
      list.push(ino);
    } else {
      tell(from, `the orphan list goes on with inode ${ino}, which is neither deleted nor to be truncated`);
      setNext(seen, 0);
    }
    from = `inode ${ino}`;
    ino = next;
  }
  for (const seen of context.inodes.values()) {
    const { ino, orphan, disk } = seen;
    if (orphan) continue;
    if (disk.nextOrphan !== 0) {
      context.problem(`inode ${ino}`, 'has a next orphan, and is not on the list');
      setNext(seen, 0);
    }
    if (!isLeft(seen)) continue;
    tell(`inode ${ino}`, 'has no name, and is not on the orphan list');
    seen.orphan = true;
    list.push(ino);
  }
  return damaged ? list : undefined;
}

/** Whether an inode was deleted while it was open. A directory with something in it cannot be. */
function isLeft(seen: Seen): boolean {
  return seen.disk.nlink === 0 && seen.names === 0 && seen.ino !== ROOT_INO && !(isDirectory(seen) && seen.hasEntries);
}

function setNext(seen: Seen, nextOrphan: number): void {
  if (seen.disk.nextOrphan === nextOrphan) return;
  seen.disk = { ...seen.disk, nextOrphan };
  seen.dirty = true;
}

/** Make the orphan list what it shall be: the next mount works it off. */
export function linkOrphans(context: FsckContext, list: readonly number[]): void {
  context.super.orphan = list[0] ?? 0;
  for (const [i, ino] of list.entries()) {
    const seen = context.inodes.get(ino);
    if (seen !== undefined) setNext(seen, list[i + 1] ?? 0);
  }
}

/** Link counts, and that everything can be reached. @returns inodes without a name that are no orphans, in the order of their numbers */
export function checkLinks(context: FsckContext): Seen[] {
  countSubdirectories(context);
  const nameless: Seen[] = [];
  for (const seen of context.inodes.values()) {
    const where = `inode ${seen.ino}`;
    const { nlink } = seen.disk;
    if (seen.ino === ROOT_INO && seen.disk.parent !== ROOT_INO) {
      context.problem(where, `the root's '..' is ${seen.disk.parent}`, 'safe');
      setParent(seen, ROOT_INO);
    }
    if (seen.ino !== ROOT_INO && seen.names === 0) {
      if (isLeft(seen)) continue;
      context.problem(where, `has ${nlink} links and no name`);
      nameless.push(seen);
      continue;
    }
    const right = isDirectory(seen) ? 2 + seen.subdirectories : seen.names;
    if (nlink !== right) context.problem(where, `has ${nlink} links, ${right} are right`, 'safe');
  }
  return nameless.sort((a, b) => a.ino - b.ino);
}

function countSubdirectories(context: FsckContext): void {
  for (const { foundIn } of context.inodes.values()) {
    const parent = foundIn === undefined ? undefined : context.inodes.get(foundIn.dir);
    if (parent !== undefined) parent.subdirectories++;
  }
}

/** Give every inode the link count that is right for the names that it has now. */
export function setLinks(context: FsckContext): void {
  for (const seen of context.inodes.values()) {
    const nlink = isLeft(seen) ? 0 : isDirectory(seen) ? 2 + seen.subdirectories : seen.names;
    if (seen.disk.nlink === nlink) continue;
    seen.disk = { ...seen.disk, nlink };
    seen.dirty = true;
  }
}
