/** Counting what everybody has by looking at all inodes (quotacheck). */

import { brelse } from '../block/buffer.js';
import { sb_bread } from '../block/buffer-cache.js';
import { QUOTA_TYPES } from '../fs/quota/types.js';
import type { Task } from '../sched/task.js';
import { isSet } from './bitmap.js';
import { type DiskInode, decodeInode } from './format/inode.js';
import { INODE_BITMAP, INODE_SIZE, INODES_PER_BLOCK } from './format/layout.js';
import type { LatchInfo } from './info.js';

/** What somebody has. */
export interface Usage {
  /** Bytes. */
  space: number;
  inodes: number;
}

/** What everybody has, by type of quota and id. */
export class UsageCount {
  readonly of: readonly Map<number, Usage>[] = QUOTA_TYPES.map(() => new Map());

  add({ uid, gid, projid, blocks }: DiskInode): void {
    for (const [type, id] of [uid, gid, projid].entries()) {
      const own = this.of[type];
      const known = own?.get(id) ?? { space: 0, inodes: 0 };
      known.space += blocks * 512;
      known.inodes++;
      own?.set(id, known);
    }
  }
}

/** Go through all inodes of a mounted filesystem that nobody uses yet. @throws EIO */
export async function countUsage(task: Task, info: LatchInfo): Promise<UsageCount> {
  const count = new UsageCount();
  for (let number = 0; number < info.groups.count; number++) {
    const group = await info.groups.load(task, number);
    const bh = await info.groups.read(task, group, INODE_BITMAP);
    if (bh === undefined) continue;
    const bits = Buffer.from(bh.b_data);
    brelse(bh);
    for (let at = 0; at < group.size; at++) if (isSet(bits, at)) await countBlock(task, info, group.base + at, count);
  }
  return count;
}

async function countBlock(task: Task, info: LatchInfo, block: number, count: UsageCount): Promise<void> {
  const bh = await sb_bread(task, info.bdev, block);
  for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
    const disk = decodeInode(bh.b_data.subarray(slot * INODE_SIZE, (slot + 1) * INODE_SIZE));
    const ino = block * INODES_PER_BLOCK + slot;
    if (disk.mode !== 0 && !info.super.quotaInodes.includes(ino)) count.add(disk);
  }
  brelse(bh);
}
