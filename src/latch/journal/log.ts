/** The log as a circle of blocks: where transactions lie in it, how full it is, and the I/O on it. */
import { SECTOR_SIZE, submit_bio_wait } from '../../block/bio.js';
import type { BlockDevice } from '../../block/block-device.js';
import { BLOCK_SIZE } from '../../block/buffer-head.js';
import type { Task } from '../../sched/task.js';
import { encodeJournalSuper, seedOfJournal } from './layout.js';

const SECTORS = BLOCK_SIZE / SECTOR_SIZE;

export class Log {
  readonly bdev: BlockDevice;
  readonly uuid: Buffer;
  /** Of all checksums. */
  readonly seed: number;
  /** Blocks that transactions can use. */
  readonly capacity: number;
  /** Blocks between tail and head. */
  used = 0;
  /** Where the next transaction begins, 1 to capacity. */
  head = 1;
  /** The number of the next transaction. */
  sequence: number;
  /** The superblock on the device says that there is nothing to replay. */
  empty = true;
  readonly #first: number;

  /** @param first the journal's first block on the device; @param length its blocks */
  constructor(bdev: BlockDevice, first: number, length: number, uuid: Buffer, sequence: number) {
    this.bdev = bdev;
    this.#first = first;
    this.capacity = length - 1;
    this.uuid = uuid;
    this.seed = seedOfJournal(uuid);
    this.sequence = sequence;
  }

  get free(): number {
    return this.capacity - this.used;
  }

  /** The position `count` blocks behind `position`. */
  after(position: number, count: number): number {
    return ((position - 1 + count) % this.capacity) + 1;
  }

  /** Take the next blocks. @returns the position of the first */
  allocate(count: number): number {
    const start = this.head;
    this.head = this.after(start, count);
    this.used += count;
    return start;
  }

  /** Write whole blocks from `position` on, around the end where necessary. @throws EIO */
  async write(task: Task, position: number, blocks: Buffer): Promise<void> {
    await this.#pieces(position, blocks, (sector, piece) =>
      submit_bio_wait(task, this.bdev, { op: 'write', sector, vecs: [piece], length: piece.length }),
    );
  }

  /** Read whole blocks. @throws EIO */
  async read(task: Task, position: number, into: Buffer): Promise<void> {
    await this.#pieces(position, into, (sector, piece) =>
      submit_bio_wait(task, this.bdev, { op: 'read', sector, vecs: [piece], length: piece.length }),
    );
  }

  /** Write a block that counts only if everything before it is stable, and that is stable itself afterwards. @throws EIO */
  async writeBarrier(task: Task, position: number, block: Buffer): Promise<void> {
    const sector = (this.#first + position) * SECTORS;
    await submit_bio_wait(task, this.bdev, {
      op: 'write',
      sector,
      vecs: [block],
      length: block.length,
      preflush: true,
      fua: true,
    });
  }

  /**
   * Write the journal's superblock.
   * @param start position of the oldest transaction that may need replaying, 0 for none
   * @param barrier whatever was written before is stable first, and it too at the end; without, before the next barrier
   * @throws EIO
   */
  async writeSuper(task: Task, start: number, sequence: number, barrier: boolean): Promise<void> {
    const block = encodeJournalSuper({ sequence, start, length: this.capacity + 1, uuid: this.uuid });
    if (barrier) await this.writeBarrier(task, 0, block);
    else {
      const sector = this.#first * SECTORS;
      await submit_bio_wait(task, this.bdev, { op: 'write', sector, vecs: [block], length: block.length });
    }
    this.empty = start === 0;
  }

  /** Make everything that was written stable. @throws EIO */
  async flush(task: Task): Promise<void> {
    await submit_bio_wait(task, this.bdev, { op: 'flush', sector: 0, vecs: [], length: 0 });
  }

  async #pieces(
    position: number,
    bytes: Buffer,
    each: (sector: number, piece: Buffer) => void | Promise<void>,
  ): Promise<void> {
    const untilEnd = (this.capacity + 1 - position) * BLOCK_SIZE;
    const head = bytes.length <= untilEnd ? bytes : bytes.subarray(0, untilEnd);
    await each((this.#first + position) * SECTORS, head);
    if (head.length < bytes.length) await each((this.#first + 1) * SECTORS, bytes.subarray(untilEnd));
  }
}
