/**
 * What the kernel knows of us: node ids and how often it was told of each. A node id is the inode number (the root's is 1), so that an inode that only
 * the kernel remembers need not stay in memory here; one without a name left is pinned until the kernel forgets it. Inodes of filesystems mounted within this
 * one have their number on top of a base of that filesystem's own. Where a filesystem cannot find an inode by its number, which most that are in memory alone cannot, it stays while
 * the kernel remembers it.
 */
import { dget, dput } from '../fs/dcache.js';
import { anyAlias, d_find_any_alias } from '../fs/dcache-alias.js';
import type { Dentry } from '../fs/dentry.js';
import { dentry_of_ino } from '../fs/export.js';
import { igrab, iput } from '../fs/icache.js';
import type { Inode } from '../fs/inode.js';
import type { SuperBlock } from '../fs/super-block.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { Lookups } from './lookups.js';
import { FUSE_ROOT_ID } from './protocol/flags.js';

/** Inode numbers are below it. Node ids are below 2^53, so that there is room for 31 filesystems within this one. */
const SUBMOUNT_BASE = 2 ** 48;

export class Nodes {
  readonly #sb: SuperBlock;
  /** The filesystems mounted within this one, in the order in which they were first seen. */
  readonly #submounts: SuperBlock[] = [];
  readonly #lookups = new Lookups();
  readonly #pinned = new Map<number, Inode>();
  /** A name of each inode that could not be read again. */
  readonly #held = new Map<number, Dentry>();
  /** Called when the kernel no longer knows a node. */
  onForget: ((task: Task, nodeid: number) => Awaitable<void>) | undefined;

  constructor(sb: SuperBlock) {
    this.#sb = sb;
  }

  /** Nodes that the kernel knows. */
  get size(): number {
    return this.#lookups.size;
  }

  idOf(inode: Inode): number {
    if (inode.i_sb !== this.#sb) return this.#baseOf(inode.i_sb) + inode.i_ino;
    const root = this.#sb.s_root?.d_inode;
    if (inode === root) return FUSE_ROOT_ID;
    // Who has given the root another number may have given its own to something else: these two change places.
    return inode.i_ino === FUSE_ROOT_ID ? (root?.i_ino ?? 0) : inode.i_ino;
  }

  #baseOf(sb: SuperBlock): number {
    let index = this.#submounts.indexOf(sb);
    if (index < 0) index = this.#submounts.push(sb) - 1;
    return SUBMOUNT_BASE * (index + 1);
  }

  /** A reference to the dentry of a node; dput it. @throws ESTALE where the inode is gone */
  dentry(task: Task, nodeid: number): Awaitable<Dentry> {
    if (nodeid >= SUBMOUNT_BASE) return this.#submounted(task, nodeid);
    const root = this.#sb.s_root?.d_inode;
    if (root === undefined) throw errno('ESTALE');
    const held = this.#held.get(nodeid);
    if (held?.d_inode !== undefined) return dget(anyAlias(held.d_inode) ?? held);
    const ino = nodeid === FUSE_ROOT_ID ? root.i_ino : nodeid === root.i_ino ? FUSE_ROOT_ID : nodeid;
    return dentry_of_ino(task, this.#sb, ino);
  }

  #submounted(task: Task, nodeid: number): Awaitable<Dentry> {
    const sb = this.#submounts[Math.floor(nodeid / SUBMOUNT_BASE) - 1];
    if (sb?.s_root === undefined) throw errno('ESTALE');
    return dentry_of_ino(task, sb, nodeid % SUBMOUNT_BASE);
  }

  /** The kernel is being told of `inode` once more. */
  remember(inode: Inode): void {
    const id = this.idOf(inode);
    this.#lookups.add(id);
    if (this.#sb.s_export_op === undefined && inode.i_sb === this.#sb) this.#hold(id, inode);
  }

  #hold(id: number, inode: Inode): void {
    if (this.#held.has(id)) return;
    const name = d_find_any_alias(inode);
    if (name !== undefined) this.#held.set(id, name);
  }

  #letGo(task: Task, id: number): Awaitable<void> {
    const name = this.#held.get(id);
    if (name === undefined) return undefined;
    this.#held.delete(id);
    return dput(task, name);
  }

  knows(inode: Inode): boolean {
    return this.#lookups.has(this.idOf(inode));
  }

  /** Keep an inode whose last name is gone while the kernel still knows it. */
  pin(task: Task, inode: Inode): void {
    const id = this.idOf(inode);
    if (!this.#lookups.has(id) || this.#pinned.has(id)) return;
    const held = igrab(task, inode);
    if (held !== undefined) this.#pinned.set(id, held);
  }

  /** Keep an inode without a name that the kernel is about to be told of. */
  pinNew(task: Task, inode: Inode): void {
    const id = this.idOf(inode);
    if (this.#pinned.has(id)) return;
    const held = igrab(task, inode);
    if (held !== undefined) this.#pinned.set(id, held);
  }

  /** A pinned inode that has a name after all is let go. */
  unpinIfLinked(task: Task, inode: Inode): Awaitable<void> {
    if (inode.i_nlink === 0) return undefined;
    return this.#unpin(task, this.idOf(inode));
  }

  /** FORGET: the kernel drops `count` of what it was told. */
  forget(task: Task, nodeid: number, count: number): Awaitable<void> {
    if (!this.#lookups.sub(nodeid, count)) return undefined;
    const forgotten = this.onForget?.(task, nodeid);
    const unpinned =
      forgotten instanceof Promise ? forgotten.then(() => this.#unpin(task, nodeid)) : this.#unpin(task, nodeid);
    return this.#held.has(nodeid) ? andThen(unpinned, () => this.#letGo(task, nodeid)) : unpinned;
  }

  async forgetAll(task: Task): Promise<void> {
    this.#lookups.clear();
    for (const id of [...this.#pinned.keys()]) await this.#unpin(task, id);
    for (const id of [...this.#held.keys()]) await this.#letGo(task, id);
  }

  #unpin(task: Task, nodeid: number): Awaitable<void> {
    const inode = this.#pinned.get(nodeid);
    if (inode === undefined) return undefined;
    this.#pinned.delete(nodeid);
    return iput(task, inode);
  }
}
