/** Taking blocks and inodes while a filesystem is repaired: everything that is in use is known by then. */
import { errno } from '../../sched/errno.js';
import { clearBit, firstSet, setBit } from '../bitmap.js';
import { GROUP_BLOCKS, GROUP_HEAD, INODES_PER_BLOCK } from '../format/layout.js';
import type { FsckContext } from './context.js';
import type { ReadGroup } from './groups.js';

export class Space {
  readonly #context: FsckContext;
  readonly #groups: readonly ReadGroup[];
  /** Blocks that are kept for trees that must be made anew. */
  readonly #kept: number;
  #left: number;
  /** What was free before comes first: what nobody has may be all that is left of something. The bits are groups in which there may be such blocks. */
  readonly #kinds: readonly { readonly wasFree: boolean; readonly room: Uint8Array }[];

  constructor(context: FsckContext, groups: readonly ReadGroup[]) {
    this.#context = context;
    this.#groups = groups;
    this.#left = 0;
    const all = (): Uint8Array => new Uint8Array(Math.ceil(groups.length / 8)).fill(0xff);
    this.#kinds = [true, false].map((wasFree) => ({ wasFree, room: all() }));
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

  #find(near: number): number | undefined {
    for (const block of this.#context.usage.takeReleased()) {
      const number = Math.floor(block / GROUP_BLOCKS);
      for (const { room } of this.#kinds) setBit(room, number);
    }
    const first = Math.floor(near / GROUP_BLOCKS);
    for (const { room, wasFree } of this.#kinds) {
      const block =
        this.#among(room, wasFree, first, this.#groups.length, near) ?? this.#among(room, wasFree, 0, first, near);
      if (block === undefined) continue;
      this.#context.usage.claimData(block);
      this.#left--;
      return block;
    }
    return undefined;
  }

  /** A block in groups `from` to `end` exclusive, as far as they may have room. */
  #among(room: Uint8Array, wasFree: boolean, from: number, end: number, near: number): number | undefined {
    for (let number = firstSet(room, from, end); number !== undefined; number = firstSet(room, number + 1, end)) {
      const group = this.#groups[number];
      const block = group === undefined ? undefined : this.#inGroup(group, wasFree, near);
      if (block !== undefined) return block;
      clearBit(room, number);
    }
    return undefined;
  }

  #inGroup({ base, size, blocks }: ReadGroup, wasFree: boolean, near: number): number | undefined {
    const { usage } = this.#context;
    const busy = wasFree ? blocks : undefined;
    const [head, end] = [base + GROUP_HEAD, base + size];
    const from = near > head && near < end ? near : head;
    return usage.findFree(base, busy, from, end) ?? usage.findFree(base, busy, head, from);
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
