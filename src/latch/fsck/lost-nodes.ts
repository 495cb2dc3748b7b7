/** Leaves of damaged trees that nothing leads to any more, because a node above them is gone: a node says whose it is. */

import { brelse } from '../../block/buffer.js';
import { sb_bread } from '../../block/buffer-cache.js';
import { isSet } from '../bitmap.js';
import { Node } from '../btree/node.js';
import { BODY_BYTES, nodeProblem } from '../btree/tree.js';
import { dir_format, entryAt, nameAt } from '../dir.js';
import { merged } from '../extent-list.js';
import { extent_format } from '../extents.js';
import { decodeExtent } from '../format/inode.js';
import { GROUP_HEAD } from '../format/layout.js';
import { NODE_HEAD, NODE_MAGIC } from '../format/tree.js';
import { isFileName } from '../names.js';
import { type FsckContext, hostOf } from './context.js';
import type { ReadGroup } from './groups.js';
import { keyed } from './names.js';
import type { DirEntry, Seen } from './seen.js';
import { fitting, type Saved } from './trees.js';

/** What was found of one inode's tree. */
interface Found {
  readonly extents: Saved[];
  readonly entries: Omit<DirEntry, 'key'>[];
}

/**
 * Look for leaves of trees that must be made anew in blocks that are in use by the bitmap and that nobody has, and add what is in them to what was saved.
 * @param names called with each inode that a name was found for
 */
export async function findLostNodes(
  context: FsckContext,
  groups: readonly ReadGroup[],
  names: (ino: number) => void,
): Promise<void> {
  if (!context.inodes.some(isDamaged)) return;
  const found = new Map<Seen, Found>();
  for (const group of groups) {
    // In a block that was free there may be a leaf of long ago.
    if (!group.blocksTrusted || group.unused) continue;
    for (let at = GROUP_HEAD; at < group.size; at++) {
      const block = group.base + at;
      if (isSet(group.blocks, at) && !context.usage.isUsed(block)) await look(context, block, found);
    }
  }
  for (const [seen, { extents, entries }] of found) {
    if (seen.entries !== undefined) {
      seen.entries = keyed([...seen.entries, ...entries], context.rulesOf(seen.disk.flags));
      seen.hasEntries = seen.entries.length > 0;
      for (const { ino } of entries) names(ino);
    } else if (seen.extents !== undefined) addExtents(context, seen, extents);
  }
}

function isDamaged(seen: Seen): boolean {
  return seen.extents !== undefined || seen.entries !== undefined;
}

/** Whether a block is a leaf of a tree that must be made anew; then its records are kept. */
async function look(context: FsckContext, block: number, found: Map<Seen, Found>): Promise<void> {
  const first = await context.read(block, `block ${block}`);
  if (first?.readUInt32LE(4) !== NODE_MAGIC) return;
  const bh = await sb_bread(context.task, context.bdev, block);
  try {
    const { b_data: bytes } = bh;
    const seen = context.inodes.get(bytes.readUIntLE(8, 6));
    if (seen === undefined || !isDamaged(seen)) return;
    const host = hostOf(context, seen.ino, seen.disk);
    const node = new Node(seen.entries === undefined ? extent_format : dir_format, bytes, NODE_HEAD, BODY_BYTES, bh);
    if (nodeProblem(host, node) !== undefined || node.level !== 0) return;
    const into = found.get(seen) ?? { extents: [], entries: [] };
    found.set(seen, into);
    for (let i = 0; i < node.count; i++) keep(node, node.at(i), into);
  } finally {
    brelse(bh);
  }
}

function keep({ data, format }: Node, at: number, into: Found): void {
  if (format === extent_format) into.extents.push({ extent: decodeExtent(data, at), sound: false });
  else if (isFileName(nameAt(data, at))) into.entries.push({ name: nameAt(data, at), ...entryAt(data, at) });
}

/** What was saved before has precedence. */
function addExtents(context: FsckContext, seen: Seen, found: readonly Saved[]): void {
  const before = (seen.extents ?? []).map((extent) => ({ extent, sound: true }));
  const known = new Set(before.map(({ extent }) => extent.logical));
  const all = fitting([...before, ...found], context.super.blocks);
  for (const { logical, physical, length } of all) {
    if (known.has(logical)) continue;
    context.claimData(`inode ${seen.ino}`, physical, length);
    seen.blocks.data += length;
  }
  seen.extents = merged(all);
}
