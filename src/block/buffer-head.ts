/** struct buffer_head: one block of a device in memory. */
import { BitLock } from '../locking/bitlock.js';
import { LockClassKey } from '../locking/lockdep/class.js';
import type { Task } from '../sched/task.js';
import type { TrackedLock } from '../sched/validator.js';
import type { BlockDevice } from './block-device.js';

/** Bytes in a block. */
export const BLOCK_SIZE = 4096;

/** The completion callback. Locks: the section buffer_head: in completion context, the buffer locked; it unlocks it. */
export type EndIo = (task: Task, bh: BufferHead, uptodate: boolean) => void;

/** Of several buffers of a device those of lower blocks are locked first (__block_write_full_folio). */
const BH_KEY = new LockClassKey('bh', 'bit', '', (held, wanted) => {
  const [first, second] = [ownerOf(held), ownerOf(wanted)];
  return first?.b_bdev === second?.b_bdev ? (first?.b_blocknr ?? 0) - (second?.b_blocknr ?? 0) : 0;
});

function ownerOf(lock: object): BufferHead | undefined {
  const { owner } = lock as TrackedLock;
  return owner instanceof BufferHead ? owner : undefined;
}

export class BufferHead {
  readonly b_bdev: BlockDevice;
  readonly b_blocknr: number;
  /** The bytes. Once the buffer was dropped, which needs b_count 0, there are none: whoever touches them still gets an exception. */
  b_data: Buffer;
  /** BH_Lock. */
  readonly lock = new BitLock('bh', BH_KEY);
  /** References: taken by sb_getblk, sb_bread and get_bh, given back by brelse. A buffer without any may leave memory when it is clean. */
  b_count = 0;
  /** BH_Uptodate: the bytes are the device's, or newer. */
  uptodate = false;
  /** BH_Dirty. Set and cleared by mark_buffer_dirty and clear_buffer_dirty only. */
  dirty = false;
  /** BH_Write_EIO: the last write has failed. */
  write_io_error = false;
  /** The owner's: it has checked what was read (a checksum), and need not again until the next read. */
  verified = false;
  b_end_io: EndIo | undefined;
  /** The journal's; a buffer with one is neither written nor dropped by the cache. */
  private: object | undefined;
  /** For the store: the memory's slot, and the neighbours in the list of buffers without references. */
  readonly slot: number;
  older: BufferHead | undefined;
  newer: BufferHead | undefined;

  constructor(bdev: BlockDevice, blocknr: number, data: Buffer, slot: number) {
    this.lock.owner = this;
    this.b_bdev = bdev;
    this.b_blocknr = blocknr;
    this.b_data = data;
    this.slot = slot;
  }
}
