/** Checking the trees of inodes: extents, directory entries, attributes, and the blocks that they take; and saving what is left of damaged ones. */
import { checkTree, type Problem } from '../btree/check.js';
import { dir_format, entryAt, nameAt } from '../dir.js';
import { checkDirectory } from '../dir-check.js';
import { endOf, MAX_LOGICAL, merged } from '../extent-list.js';
import { extent_format } from '../extents.js';
import { checkExtents } from '../extents-check.js';
import { decodeExtent, type Extent } from '../format/inode.js';
import { firstKey, isFileName } from '../names.js';
import { checkXattrs } from '../xattr-check.js';
import { type FsckContext, hostOf } from './context.js';
import { keyed } from './names.js';
import type { DirEntry, Seen } from './seen.js';

/** Problems of a tree in an inode's area, told; and whether there were some. */
class TreeProblems {
  readonly nodes: number[] = [];
  damaged = false;
  readonly #context: FsckContext;
  readonly #ino: number;

  constructor(context: FsckContext, ino: number) {
    this.#context = context;
    this.#ino = ino;
  }

  readonly problem = ({ block, message, unreadable }: Problem): void => {
    if (unreadable === true && block !== undefined) {
      this.damaged = true;
      this.#context.unreadable(`inode ${this.#ino}`, block, message);
      return;
    }
    const where = block === undefined ? 'the root of its tree' : `block ${block} of its tree`;
    this.told(`inode ${this.#ino}`, `${where}: ${message}`);
  };

  told(where: string, what: string): void {
    this.damaged = true;
    this.#context.problem(where, what);
  }

  readonly node = (block: number): boolean => this.nodes.push(block) > 0;

  /** Whether the tree can stay as it is: nothing is wrong with it, and nothing else has its nodes, which is told. */
  stays(owner: string): boolean {
    if (this.damaged) return false;
    const taken = this.nodes.filter((block) => this.#context.usage.isMetadata(block));
    for (const block of taken) this.#context.problem(owner, `block ${block} is in use already`);
    return taken.length === 0;
  }

  claim(owner: string, counts: Seen['blocks']): void {
    for (const block of this.nodes) this.#context.claimMetadata(owner, block);
    counts.nodes = this.nodes.length;
  }
}

/** The extents of a file as they were found, or saved. */
export interface ExtentScan {
  /** First blocks on the device, and lengths, in turn. */
  readonly runs: readonly number[];
  /** The block of the file behind the last one that is written. */
  readonly end: number;
  /** Takes the blocks. */
  claim(): void;
}

/** Look at every extent of a file or of a long symlink; those of a damaged tree become `seen.extents`. Nothing is claimed yet. */
export async function scanExtents(context: FsckContext, seen: Seen, area: Buffer): Promise<ExtentScan> {
  const { task } = context;
  const { blocks } = context.super;
  const where = `inode ${seen.ino}`;
  const host = hostOf(context, seen.ino, seen.disk);
  const found = new TreeProblems(context, seen.ino);
  const runs: number[] = [];
  let end = 0;
  const add = (extent: Extent): void => {
    runs.push(extent.physical, extent.length);
    if (!extent.unwritten) end = endOf(extent);
  };
  await checkExtents(task, host, area, blocks, { problem: found.problem, node: found.node, extent: add });
  const stays = found.stays(`${where}, tree`);
  if (!stays) {
    const saved: Saved[] = [];
    await checkTree(task, host, extent_format, area, blocks, {
      problem: () => undefined,
      node: () => true,
      record: (data, at, _key, _block, sound) => saved.push({ extent: decodeExtent(data, at), sound }),
      salvage: true,
    });
    seen.extents = inOrder(saved, blocks);
    seen.dirty = true;
    seen.doubtful = true;
    runs.length = 0;
    end = 0;
    seen.extents.forEach(add);
  }
  const claim = (): void => {
    const whole = seen.extents === undefined;
    if (whole) found.claim(`${where}, tree`, seen.blocks);
    const all = whole ? runs : (seen.extents ?? []).flatMap(({ physical, length }) => [physical, length]);
    for (let i = 0; i < all.length; i += 2) {
      const length = all[i + 1] ?? 0;
      context.claimData(where, all[i] ?? 0, length);
      seen.blocks.data += length;
    }
  };
  return { runs, end, claim };
}

/** An extent that is left of a damaged tree. */
export interface Saved {
  readonly extent: Extent;
  /** It was in a node without fault. */
  readonly sound: boolean;
}

/** What can be extents of one file among those that were saved: sound ones first, and of others what they leave room for. */
export function inOrder(saved: readonly Saved[], blocks: number): Extent[] {
  return merged(fitting(saved, blocks));
}

/** The same, each by itself. */
export function fitting(saved: readonly Saved[], blocks: number): Extent[] {
  const possible = saved.filter(
    ({ extent: { physical, length }, extent }) =>
      length > 0 && physical > 0 && physical + length <= blocks && endOf(extent) <= MAX_LOGICAL,
  );
  const sound = disjoint(possible.filter((each) => each.sound));
  const others = disjoint(possible.filter((each) => !each.sound));
  let i = 0;
  const between = others.filter((extent) => {
    while (i < sound.length && endOf(sound[i] ?? extent) <= extent.logical) i++;
    const next = sound[i];
    return next === undefined || next.logical >= endOf(extent);
  });
  return [...sound, ...between].sort((a, b) => a.logical - b.logical);
}

/** In order; of those that overlap, the first. */
function disjoint(saved: readonly Saved[]): Extent[] {
  const out: Extent[] = [];
  for (const { extent } of [...saved].sort((a, b) => a.extent.logical - b.extent.logical)) {
    const last = out[out.length - 1];
    if (last === undefined || endOf(last) <= extent.logical) out.push(extent);
  }
  return out;
}

/**
 * Every entry of a directory by itself; whether what it names exists is seen later.
 * @param names called with each inode that is named
 */
export async function checkDirTree(
  context: FsckContext,
  seen: Seen,
  area: Buffer,
  names: (ino: number) => void,
): Promise<void> {
  const { task } = context;
  const rules = context.rulesOf(seen.disk.flags);
  const { blocks } = context.super;
  const host = hostOf(context, seen.ino, seen.disk);
  const found = new TreeProblems(context, seen.ino);
  await checkDirectory(task, host, area, blocks, rules, {
    problem: (problem) => {
      if (problem.entry === undefined) found.problem(problem);
      else found.told(`directory ${seen.ino}`, problem.message);
    },
    node: found.node,
    entry: (_name, ino) => {
      seen.hasEntries = true;
      names(ino);
    },
  });
  if (found.stays(`inode ${seen.ino}, tree`)) {
    found.claim(`inode ${seen.ino}, tree`, seen.blocks);
    return;
  }
  const entries: Omit<DirEntry, 'key'>[] = [];
  await checkTree(task, host, dir_format, area, blocks, {
    problem: () => undefined,
    node: () => true,
    record: (data, at, key, _block, sound) => {
      const name = nameAt(data, at);
      const { ino, type } = entryAt(data, at);
      const right = rules.keyOf(name) === firstKey(key);
      if (isFileName(name) && ino !== 0 && (sound || right)) entries.push({ name, ino, type });
    },
    salvage: true,
  });
  seen.entries = keyed(entries, rules);
  seen.dirty = true;
  seen.hasEntries = seen.entries.length > 0;
  for (const { ino } of seen.entries) names(ino);
}

/** Call `visit` with the entries of a directory as it was read, or as they were saved; and `node` with the blocks that they were read from. */
export async function forEachEntry(
  context: FsckContext,
  dir: Seen,
  visit: (entry: DirEntry) => void,
  node: (block: number) => void = () => undefined,
): Promise<void> {
  if (dir.entries !== undefined) {
    for (const entry of dir.entries) visit(entry);
    return;
  }
  await checkTree(
    context.task,
    hostOf(context, dir.ino, dir.disk),
    dir_format,
    dir.area ?? Buffer.alloc(0),
    context.super.blocks,
    {
      // What is wrong with the tree was told with the inode's blocks.
      problem: () => undefined,
      node: (block) => {
        node(block);
        return true;
      },
      record: (data, at, key) => visit({ key, name: nameAt(data, at), ...entryAt(data, at) }),
    },
  );
}

/** The attributes of an inode, and the blocks that they take. */
export async function checkAttributes(context: FsckContext, seen: Seen): Promise<void> {
  const { xattrBlock } = seen.disk;
  if (xattrBlock === 0) return;
  const where = `inode ${seen.ino}, extended attributes`;
  const host = hostOf(context, seen.ino, seen.disk);
  const taken: number[] = [];
  const { damaged, kept } = await checkXattrs(context.task, host, xattrBlock, context.super.blocks, context.keyOf, {
    problem: ({ block = xattrBlock, message, unreadable }) => {
      if (unreadable === true) context.unreadable(where, block, message);
      else context.problem(where, `block ${block}: ${message}`);
    },
    node: (block) => taken.push(block) > 0,
    value: (start, length) => {
      for (let block = start; block < start + length; block++) taken.push(block);
    },
  });
  const conflict = new Set(taken).size !== taken.length || taken.some((block) => context.usage.isMetadata(block));
  if (!damaged && !conflict) {
    for (const block of taken) context.claimMetadata(where, block);
    seen.blocks.attributes = taken.length;
    return;
  }
  if (!damaged) context.problem(where, 'some of their blocks are in use already');
  seen.attributes = await kept();
  seen.dirty = true;
}
