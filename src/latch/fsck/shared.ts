/** Blocks of data that were claimed more than once (passes 1b to 1d of e2fsck): each file gets a copy of its own. */
import { append } from '../extent-list.js';
import { checkExtents } from '../extents-check.js';
import { areaOf, type Extent } from '../format/inode.js';
import { INODE_SIZE, INODES_PER_BLOCK } from '../format/layout.js';
import { type FsckContext, hostOf } from './context.js';
import { isDirectory, type Seen } from './seen.js';

/** Takes a block that is free. @returns undefined where none is */
export type Allocate = (near: number) => number | undefined;

/**
 * Settle who has the blocks that several things have claimed. Metadata that says itself whose it is keeps its block: it never was the data of a file, which gets
 * a hole there. Of several files the first keeps it, and the others get copies; holes where there is no room. A file that may have been deleted, or whose tree or
 * inode had lost its checksum, has no right to what others have: it comes last, and gets holes.
 */
export async function settleShared(context: FsckContext, allocate: Allocate): Promise<void> {
  if (context.usage.sharedCount === 0) return;
  const kept = new Set<number>();
  const files = [...context.inodes.values()].filter((seen) => !isDirectory(seen) && seen.blocks.data > 0);
  const sure = files.filter((seen) => !seen.doubtful);
  for (const seen of [...sure, ...files.filter((each) => each.doubtful)]) {
    const { extents, nodes } =
      seen.extents === undefined ? await readExtents(context, seen) : { extents: seen.extents, nodes: [] };
    if (!extents.some((extent) => hasShared(context, extent))) continue;
    const settled: Extent[] = [];
    const copy = seen.doubtful ? () => undefined : allocate;
    for (const extent of extents) settle(context, extent, kept, copy, settled);
    seen.extents = settled;
    seen.oldNodes = nodes;
    seen.blocks.data = settled.reduce((sum, { length }) => sum + length, 0);
    seen.dirty = true;
  }
}

function hasShared(context: FsckContext, { physical, length }: Extent): boolean {
  for (let block = physical; block < physical + length; block++) if (context.usage.isShared(block)) return true;
  return false;
}

function settle(context: FsckContext, extent: Extent, kept: Set<number>, allocate: Allocate, out: Extent[]): void {
  const { usage } = context;
  for (let i = 0; i < extent.length; i++) {
    const block = extent.physical + i;
    const one = { ...extent, logical: extent.logical + i, physical: block, length: 1 };
    if (!usage.isShared(block)) append(out, one);
    else if (usage.isMetadata(block)) continue;
    else if (!kept.has(block)) {
      kept.add(block);
      append(out, one);
    } else {
      const copy = allocate(block);
      if (copy === undefined) continue;
      if (!extent.unwritten) context.copies.push({ from: block, to: copy });
      append(out, { ...one, physical: copy });
    }
  }
}

/** The extents of a file whose tree has no fault, and the nodes of that. */
export async function readExtents(
  context: FsckContext,
  seen: Seen,
): Promise<{ readonly extents: Extent[]; readonly nodes: number[] }> {
  const extents: Extent[] = [];
  const nodes: number[] = [];
  const block = await context.read(Math.floor(seen.ino / INODES_PER_BLOCK), `inode ${seen.ino}`);
  if (block === undefined) return { extents, nodes };
  const at = (seen.ino % INODES_PER_BLOCK) * INODE_SIZE;
  const area = areaOf(block.subarray(at, at + INODE_SIZE));
  await checkExtents(context.task, hostOf(context, seen.ino, seen.disk), area, context.super.blocks, {
    problem: () => undefined,
    node: (node) => nodes.push(node) > 0,
    extent: (extent) => extents.push(extent),
  });
  return { extents, nodes };
}
