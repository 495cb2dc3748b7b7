/**
 * Directories: entries in blocks, as in ext2, with an index by name in memory that is made when the directory is first used. An entry never moves, so that
 * its position is a cookie that stays valid while others come and go.
 *
 *     0  8  inode, 0 for a free entry      11  1  type (DT_*)
 *     8  2  bytes to the next entry        12  n  name
 *    10  1  length of the name
 *
 * Entries begin at multiples of 8 and do not cross blocks.
 */
import { brelse, sb_bread } from '../block/buffer-cache.js';
import { BLOCK_SIZE, type BufferHead } from '../block/buffer-head.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { LatchInfo } from './info.js';
import type { LatchInode } from './inode.js';
import type { Handle } from './journal/types.js';

const HEAD = 12;

/** Where an entry is, and what it names. */
export interface Place {
  /** Byte position in the directory. */
  readonly at: number;
  ino: number;
  type: number;
}

export class DirIndex {
  readonly names = new Map<string, Place>();
  /** Blocks by the largest free entry that they were last known to have, in bytes. */
  readonly room = new Map<number, number>();
}

function sizeOf(nameLength: number): number {
  return (HEAD + nameLength + 7) & ~7;
}

interface Entry {
  readonly at: number;
  readonly ino: number;
  readonly length: number;
  readonly nameLength: number;
  readonly type: number;
}

/** The entry at `at` of a block. @throws EIO where its length cannot be */
function entryAt(data: Buffer, at: number): Entry {
  const entry = {
    at,
    ino: data.readUIntLE(at, 6),
    length: data.readUInt16LE(at + 8),
    nameLength: data[at + 10] ?? 0,
    type: data[at + 11] ?? 0,
  };
  const bad = entry.length < HEAD || (entry.length & 7) !== 0 || at + entry.length > BLOCK_SIZE;
  if (bad || sizeOf(entry.ino === 0 ? 0 : entry.nameLength) > entry.length)
    throw errno('EIO', 'a damaged directory block');
  return entry;
}

function nameOf(data: Buffer, entry: Entry): string {
  return data.toString('latin1', entry.at + HEAD, entry.at + HEAD + entry.nameLength);
}

function putEntry(data: Buffer, at: number, length: number, ino: number, type: number, name: string): void {
  data.writeUIntLE(ino, at, 6);
  data.writeUInt16LE(0, at + 6);
  data.writeUInt16LE(length, at + 8);
  data[at + 10] = name.length;
  data[at + 11] = type;
  data.write(name, at + HEAD, name.length, 'latin1');
}

/** The buffer of a directory's block. */
async function blockOf(task: Task, info: LatchInfo, dir: LatchInode, block: number): Promise<BufferHead> {
  const extent = dir.extents.find(block);
  if (extent === undefined) throw errno('EIO', `directory ${dir.i_ino} has no block ${block}`);
  return sb_bread(task, info.bdev, extent.physical + (block - extent.logical));
}

/** The directory's index; read from its blocks the first time. With i_rwsem of the directory held. */
export async function dirIndex(task: Task, info: LatchInfo, dir: LatchInode): Promise<DirIndex> {
  if (dir.index !== undefined) return dir.index;
  const index = new DirIndex();
  for (let block = 0; block * BLOCK_SIZE < dir.i_size; block++) {
    const bh = await blockOf(task, info, dir, block);
    let room = 0;
    for (let at = 0; at < BLOCK_SIZE; ) {
      const entry = entryAt(bh.b_data, at);
      if (entry.ino !== 0) {
        index.names.set(nameOf(bh.b_data, entry), { at: block * BLOCK_SIZE + at, ino: entry.ino, type: entry.type });
      }
      room = Math.max(room, entry.length - (entry.ino === 0 ? 0 : sizeOf(entry.nameLength)));
      at += entry.length;
    }
    brelse(bh);
    if (room >= sizeOf(1)) index.room.set(block, room);
  }
  dir.index = index;
  return index;
}

/** Add a name that is not there. With i_rwsem held exclusively. @throws ENOSPC */
export async function addEntry(
  task: Task,
  handle: Handle,
  info: LatchInfo,
  dir: LatchInode,
  name: string,
  ino: number,
  type: number,
): Promise<void> {
  const index = await dirIndex(task, info, dir);
  const need = sizeOf(name.length);
  for (const [block, room] of index.room) {
    if (room < need) {
      // Full for ordinary names: not looked at again until something is removed from it.
      if (room < sizeOf(16)) index.room.delete(block);
      continue;
    }
    if (await addTo(task, handle, info, dir, index, block, name, ino, type)) return;
  }
  const block = dir.i_size / BLOCK_SIZE;
  const last = dir.extents.list[dir.extents.list.length - 1];
  const goal = last === undefined ? Math.floor(dir.i_ino / 16) : last.physical + last.length;
  const { start } = await info.alloc.allocate(task, handle, 1, goal);
  dir.extents.insert({ logical: block, physical: start, length: 1, unwritten: false });
  dir.i_blocks += 8;
  dir.i_size += BLOCK_SIZE;
  const bh = await sb_bread(task, info.bdev, start);
  await handle.get_write_access(task, bh);
  bh.b_data.fill(0);
  bh.b_data.writeUInt16LE(BLOCK_SIZE, 8);
  handle.dirty_metadata(task, bh);
  brelse(bh);
  index.room.set(block, BLOCK_SIZE);
  if (!(await addTo(task, handle, info, dir, index, block, name, ino, type))) throw errno('EIO');
}

async function addTo(
  task: Task,
  handle: Handle,
  info: LatchInfo,
  dir: LatchInode,
  index: DirIndex,
  block: number,
  name: string,
  ino: number,
  type: number,
): Promise<boolean> {
  const bh = await blockOf(task, info, dir, block);
  try {
    const { b_data: data } = bh;
    const need = sizeOf(name.length);
    let best = 0;
    for (let at = 0; at < BLOCK_SIZE; ) {
      const entry = entryAt(data, at);
      const used = entry.ino === 0 ? 0 : sizeOf(entry.nameLength);
      const free = entry.length - used;
      if (free >= need) {
        await handle.get_write_access(task, bh);
        if (used > 0) data.writeUInt16LE(used, at + 8);
        putEntry(data, at + used, free, ino, type, name);
        handle.dirty_metadata(task, bh);
        index.names.set(name, { at: block * BLOCK_SIZE + at + used, ino, type });
        if (block * BLOCK_SIZE + at + entry.length >= (block + 1) * BLOCK_SIZE) index.room.set(block, free - need);
        return true;
      }
      best = Math.max(best, free);
      at += entry.length;
    }
    index.room.set(block, best);
    return false;
  } finally {
    brelse(bh);
  }
}

/** Remove a name that is there. With i_rwsem held exclusively. */
export async function removeEntry(
  task: Task,
  handle: Handle,
  info: LatchInfo,
  dir: LatchInode,
  name: string,
): Promise<void> {
  const index = await dirIndex(task, info, dir);
  const place = index.names.get(name);
  if (place === undefined) throw errno('ENOENT');
  const block = Math.floor(place.at / BLOCK_SIZE);
  const bh = await blockOf(task, info, dir, block);
  await handle.get_write_access(task, bh);
  const { b_data: data } = bh;
  const at = place.at % BLOCK_SIZE;
  let before: Entry | undefined;
  for (let scan = 0; scan < at; ) {
    before = entryAt(data, scan);
    scan += before.length;
  }
  const entry = entryAt(data, at);
  if (before === undefined) putEntry(data, at, entry.length, 0, 0, '');
  else data.writeUInt16LE(before.length + entry.length, before.at + 8);
  handle.dirty_metadata(task, bh);
  brelse(bh);
  index.names.delete(name);
  index.room.set(block, Math.max(index.room.get(block) ?? 0, entry.length));
}

/** Let a name that is there name another inode (rename over it). */
export async function setEntry(
  task: Task,
  handle: Handle,
  info: LatchInfo,
  dir: LatchInode,
  name: string,
  ino: number,
  type: number,
): Promise<void> {
  const index = await dirIndex(task, info, dir);
  const place = index.names.get(name);
  if (place === undefined) throw errno('ENOENT');
  const bh = await blockOf(task, info, dir, Math.floor(place.at / BLOCK_SIZE));
  const at = place.at % BLOCK_SIZE;
  await handle.get_write_access(task, bh);
  bh.b_data.writeUIntLE(ino, at, 6);
  bh.b_data[at + 11] = type;
  handle.dirty_metadata(task, bh);
  brelse(bh);
  place.ino = ino;
  place.type = type;
}

/**
 * Emit entries from byte position `from` on. @returns false where the actor refused one
 */
export async function emitEntries(
  task: Task,
  info: LatchInfo,
  dir: LatchInode,
  from: number,
  emit: (name: string, ino: number, type: number, at: number) => boolean,
): Promise<boolean> {
  for (let block = Math.floor(from / BLOCK_SIZE); block * BLOCK_SIZE < dir.i_size; block++) {
    const bh = await blockOf(task, info, dir, block);
    try {
      for (let at = 0; at < BLOCK_SIZE; ) {
        const entry = entryAt(bh.b_data, at);
        const position = block * BLOCK_SIZE + at;
        if (entry.ino !== 0 && position >= from && !emit(nameOf(bh.b_data, entry), entry.ino, entry.type, position))
          return false;
        at += entry.length;
      }
    } finally {
      brelse(bh);
    }
  }
  return true;
}
