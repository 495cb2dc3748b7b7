/** Where there is room for an inode: a block of inodes with a free slot, which the room bitmaps of the groups know. */
import { brelse } from '../block/buffer.js';
import type { BufferHead } from '../block/buffer-head.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { firstSet } from './bitmap.js';
import { GROUP_BLOCKS, ROOM_BITMAP } from './format/layout.js';
import { type Group, type Groups, groupOf } from './groups.js';

export class InodeRoom {
  readonly #groups: Groups;
  /** Where to look first: the group, and the block in it. */
  #group = 0;
  #at = 0;

  constructor(groups: Groups) {
    this.#groups = groups;
  }

  /** Look in this block first. */
  startAt(block: number): void {
    this.#group = groupOf(block);
    this.#at = block % GROUP_BLOCKS;
  }

  /** A block of inodes with a free slot, or undefined where there is none. With alloc_lock held. @throws EIO */
  find(task: Task): Awaitable<number | undefined> {
    return andThen(this.#groups.load(task, this.#group), InodeRoom.#from, task, this);
  }

  static #from(group: Group, task: Task, room: InodeRoom): Awaitable<number | undefined> {
    return andThen(room.#in(task, group), InodeRoom.#orElsewhere, task, group, room);
  }

  static #orElsewhere(
    block: number | undefined,
    task: Task,
    { number }: Group,
    room: InodeRoom,
  ): Awaitable<number | undefined> {
    return block ?? room.#elsewhere(task, number);
  }

  async #elsewhere(task: Task, but: number): Promise<number | undefined> {
    for (let number = 0; number < this.#groups.count; number++) {
      if (number === but) continue;
      const group = await this.#groups.load(task, number);
      const block = await this.#in(task, group);
      if (block !== undefined) return block;
    }
    return undefined;
  }

  #in(task: Task, group: Group): Awaitable<number | undefined> {
    if (group.full || group.descriptor === undefined) return undefined;
    return andThen(this.#groups.read(task, group, ROOM_BITMAP), InodeRoom.#first, group, this);
  }

  static #first(bh: BufferHead | undefined, group: Group, room: InodeRoom): number | undefined {
    if (bh === undefined) return undefined;
    const from = group.number === room.#group ? room.#at : 0;
    const at = firstSet(bh.b_data, from, group.size) ?? firstSet(bh.b_data, 0, from);
    brelse(bh);
    if (at === undefined) {
      group.full = true;
      return undefined;
    }
    const block = group.base + at;
    room.startAt(block);
    return block;
  }
}
