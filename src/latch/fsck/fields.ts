/** Checking the fields of one inode, and its target where it is a symlink. What can be known is put right in the Seen. */

import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from '../../uapi/stat.js';
import { checkTree } from '../btree/check.js';
import { extent_format } from '../extents.js';
import { SETTABLE } from '../flags.js';
import { AREA_SIZE, decodeExtent, EOFBLOCKS_FL, type Extent } from '../format/inode.js';
import { BLOCK_SIZE, MAX_FILE_BYTES } from '../format/layout.js';
import { type FsckContext, hostOf } from './context.js';
import { type Seen, typeOf } from './seen.js';

const TYPES = new Set([0o010000, S_IFCHR, S_IFDIR, S_IFBLK, S_IFREG, S_IFLNK, 0o140000]);
const NSEC = 1_000_000_000;
/** INVALID_PROJID */
const NO_PROJECT = 0xffffffff;

/** Whether a mode is one that an inode can have. */
export function isType(mode: number): boolean {
  return mode <= 0o177777 && TYPES.has(mode & 0o170000);
}

/** @param end of a file: the block behind the last one that is written */
export function checkFields(context: FsckContext, seen: Seen, end: number): void {
  const where = `inode ${seen.ino}`;
  const { disk } = seen;
  const type = typeOf(disk);
  const fix = (change: Partial<Seen['disk']>): void => {
    seen.disk = { ...seen.disk, ...change };
    seen.dirty = true;
  };
  if (type === S_IFREG && disk.size > MAX_FILE_BYTES) {
    context.problem(where, `a size of ${disk.size} bytes`);
    fix({ size: Math.min(end * BLOCK_SIZE, MAX_FILE_BYTES) });
  }
  if (type !== S_IFREG && type !== S_IFDIR && type !== S_IFLNK && disk.size !== 0) {
    context.problem(where, `a special file with a size of ${disk.size} bytes`);
    fix({ size: 0 });
  }
  if (type !== S_IFCHR && type !== S_IFBLK && disk.rdev !== 0) {
    context.problem(where, `no device, with device number ${disk.rdev}`, 'safe');
    fix({ rdev: 0 });
  }
  if (type !== S_IFDIR && disk.parent !== 0) {
    context.problem(where, `no directory, with parent ${disk.parent}`, 'safe');
    fix({ parent: 0 });
  }
  const known = type === S_IFREG ? SETTABLE | EOFBLOCKS_FL : SETTABLE;
  if ((disk.flags & ~known) !== 0) {
    context.problem(where, `flags ${(disk.flags & ~known).toString(16)} are unknown`);
    fix({ flags: disk.flags & known });
  }
  if (disk.projid === NO_PROJECT) {
    context.problem(where, `project ${disk.projid} is none`);
    fix({ projid: 0 });
  }
  for (const name of ['atime', 'mtime', 'ctime', 'btime'] as const) {
    const { sec, nsec } = disk[name];
    if (nsec < NSEC) continue;
    context.problem(where, `${name} has ${nsec} nanoseconds`);
    fix({ [name]: { sec, nsec: 0 } });
  }
}

/** That a directory is as large as its blocks, and that it says how many blocks it has: known once they are. */
export function checkSizes(context: FsckContext, seen: Seen): void {
  const where = `inode ${seen.ino}`;
  const { disk } = seen;
  const { nodes, data, attributes } = seen.blocks;
  if (typeOf(disk) === S_IFDIR && seen.entries === undefined && disk.size !== nodes * BLOCK_SIZE) {
    context.problem(where, `a directory of ${disk.size} bytes with ${nodes} blocks`, 'safe');
    seen.dirty = true;
  }
  // What is made anew will say it.
  if (seen.extents !== undefined || seen.entries !== undefined || seen.attributes !== undefined) return;
  const sectors = (nodes + data + attributes) * (BLOCK_SIZE / 512);
  if (disk.blocks === sectors) return;
  context.problem(where, `says ${disk.blocks} sectors, and has ${sectors}`, 'safe');
  seen.dirty = true;
}

/** A symlink whose target is in the inode. @returns false where it has none */
export function checkInlineLink(context: FsckContext, seen: Seen, area: Buffer): boolean {
  const where = `inode ${seen.ino}`;
  const { disk } = seen;
  const end = area.indexOf(0);
  const length = end < 0 ? AREA_SIZE : end;
  if (disk.size === 0) context.problem(where, 'a symlink of 0 bytes');
  if (length === 0) {
    if (disk.size !== 0) context.problem(where, 'a symlink without a target');
    return false;
  }
  if (length !== disk.size) {
    context.problem(where, `the target of the symlink is not ${disk.size} bytes long`);
    seen.disk = { ...seen.disk, size: length };
    seen.dirty = true;
  } else if (end >= 0 && area.subarray(end).some((byte) => byte !== 0)) {
    context.problem(where, 'something lies behind the target of the symlink');
  }
  if (area.subarray(length).some((byte) => byte !== 0)) {
    seen.plainArea = Buffer.alloc(AREA_SIZE);
    area.copy(seen.plainArea, 0, 0, length);
    seen.dirty = true;
  }
  return true;
}

/** A symlink whose target has a block of its own. @returns false where it has no target any more */
export async function checkLongLink(context: FsckContext, seen: Seen, area: Buffer): Promise<boolean> {
  const where = `inode ${seen.ino}`;
  const { disk } = seen;
  if (disk.size >= BLOCK_SIZE) context.problem(where, `a symlink of ${disk.size} bytes`);
  const extents = seen.extents ?? (await allExtents(context, seen, area));
  const [first] = extents;
  if (extents.length !== 1 || first === undefined || first.logical !== 0 || first.length !== 1 || first.unwritten) {
    context.problem(where, 'a long symlink has one block, its first');
  }
  if (first === undefined || first.logical !== 0 || first.unwritten) return false;
  const block = await context.read(first.physical, where);
  const length = block?.indexOf(0) ?? -1;
  if (block === undefined || length <= AREA_SIZE) {
    context.problem(where, 'a symlink without a target');
    return false;
  }
  if (length !== disk.size) {
    if (disk.size < BLOCK_SIZE) context.problem(where, `the target of the symlink is not ${disk.size} bytes long`);
    seen.disk = { ...seen.disk, size: length };
    seen.dirty = true;
  }
  if (extents.length !== 1 || first.length !== 1) {
    seen.extents = [{ ...first, length: 1 }];
    seen.dirty = true;
  }
  return true;
}

/** The extents of a small file. */
async function allExtents(context: FsckContext, seen: Seen, area: Buffer): Promise<Extent[]> {
  const extents: Extent[] = [];
  await checkTree(context.task, hostOf(context, seen.ino, seen.disk), extent_format, area, context.super.blocks, {
    problem: () => undefined,
    node: () => true,
    record: (data, at) => extents.push(decodeExtent(data, at)),
  });
  return extents;
}
