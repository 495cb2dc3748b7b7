/** struct buffer_head: one block of a device in memory. */
import { BitLock } from '../locking/bitlock.js';
import type { Task } from '../sched/task.js';
import type { BlockDevice } from './block-device.js';

/** Bytes in a block. */
export const BLOCK_SIZE = 4096;

/** The completion callback. Locks: the section buffer_head: in completion context, the buffer locked. */
export type EndIo = (task: Task, bh: BufferHead, uptodate: boolean) => void;

export class BufferHead {
  readonly b_bdev: BlockDevice;
  readonly b_blocknr: number;
  readonly b_data: Buffer;
  /** BH_Lock. */
  readonly lock = new BitLock('bh');
  /** References; a buffer without any may leave memory when it is clean. */
  b_count = 0;
  /** BH_Uptodate. */
  uptodate = false;
  /** BH_Dirty. */
  dirty = false;
  /** BH_Write_EIO. */
  write_io_error = false;
  /** The filesystem has looked at the bytes and found them in order (BH_PrivateStart: ext4's BH_Verified). */
  verified = false;
  b_end_io: EndIo | undefined;
  /** The journal's; a buffer with one is neither written nor dropped by the cache. */
  private: object | undefined;

  constructor(bdev: BlockDevice, blocknr: number, data: Buffer) {
    this.b_bdev = bdev;
    this.b_blocknr = blocknr;
    this.b_data = data;
  }
}
