/** Taking blocks and inodes while a filesystem is repaired: everything that is in use is known by then. */
import { errno } from '../../sched/errno.js';
import { isSet } from '../bitmap.js';
import { GROUP_BLOCKS, GROUP_HEAD, INODES_PER_BLOCK } from '../format/layout.js';
import type { FsckContext } from './context.js';
import type { ReadGroup } from './groups.js';

export class Space {
  readonly #context: FsckContext;
  readonly #groups: readonly ReadGroup[];
  /** Blocks that are kept for trees that must be made anew. */
  readonly #kept: number;
  #left: number;

  constructor(context: FsckContext, groups: readonly ReadGroup[]) {
    this.#context = context;
    this.#groups = groups;
    this.#left = 0;
    for (const { base, size } of groups) {
      for (let at = GROUP_HEAD; at < size; at++) if (!context.usage.isUsed(base + at)) this.#left++;
    }
    let damaged = 0;
    for (const { extents, entries, edits, attributes } of context.inodes.values()) {
      const rebuilt = extents ?? entries ?? attributes ?? [];
      if (edits !== undefined || rebuilt.length > 0) damaged += 4 + Math.ceil(rebuilt.length / 8);
    }
    this.#kept = damaged + 8;
  }

  /** A block for data near another one. @returns undefined where what is free is wanted for metadata */
  spare(near: number): number | undefined {
    return this.#left > this.#kept ? this.#find(near) : undefined;
  }

  /** A block for metadata. @throws ENOSPC */
  take(near: number): number {
    const block = this.#find(near);
    if (block === undefined) throw errno('ENOSPC', 'there is no room for what must be made anew');
    return block;
  }

  /** What was free before comes first: what nobody has may be all that is left of something. */
  #find(near: number): number | undefined {
    const first = Math.floor(near / GROUP_BLOCKS);
    for (const wasFree of [true, false]) {
      for (let i = 0; i < this.#groups.length; i++) {
        const group = this.#groups[(first + i) % this.#groups.length];
        if (group === undefined) continue;
        const end = group.base + group.size;
        const free = (block: number): boolean => !wasFree || !isSet(group.blocks, block - group.base);
        const from = i === 0 && near > group.base + GROUP_HEAD ? near : group.base + GROUP_HEAD;
        const block =
          this.#context.usage.findFree(from, end, free) ??
          this.#context.usage.findFree(group.base + GROUP_HEAD, from, free);
        if (block === undefined) continue;
        this.#context.usage.claimData(block);
        this.#left--;
        return block;
      }
    }
    return undefined;
  }

  /** A free inode. @throws ENOSPC */
  inode(): number {
    const { inodes, cleared, inodeBlocks, newInodeBlocks } = this.#context;
    for (const block of inodeBlocks) {
      for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
        const ino = block * INODES_PER_BLOCK + slot;
        if (!inodes.has(ino)) return ino;
      }
    }
    const block = this.take(0);
    inodeBlocks.add(block);
    newInodeBlocks.add(block);
    cleared.delete(block * INODES_PER_BLOCK);
    return block * INODES_PER_BLOCK;
  }
}
