/** struct block_device: a device that can be opened, and its operations under open_mutex. */
import { block_device_operations as rows } from '../contract/block-device.js';
import { call } from '../locking/context.js';
import { Mutex } from '../locking/mutex.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import { Errseq } from '../sched/errseq.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import { type Driver, RequestQueue } from './request-queue.js';

/** Locks: the section block_device_operations. */
export interface block_device_operations {
  open?(task: Task, bdev: BlockDevice, mode: OpenMode): Awaitable<void>;
  release?(task: Task, bdev: BlockDevice): Awaitable<void>;
  ioctl?(task: Task, bdev: BlockDevice, cmd: number, arg: Buffer): Awaitable<Buffer>;
  compat_ioctl?(task: Task, bdev: BlockDevice, cmd: number, arg: Buffer): Awaitable<Buffer>;
  /** The stored bytes of the block at `sector` themselves, undefined for a hole. */
  direct_access?(task: Task, bdev: BlockDevice, sector: number): Buffer | undefined;
  unlock_native_capacity?(task: Task, bdev: BlockDevice): Awaitable<void>;
  getgeo?(task: Task, bdev: BlockDevice): Awaitable<Geometry>;
  swap_slot_free_notify?(task: Task, bdev: BlockDevice, slot: number): void;
}

export type OpenMode = 'read' | 'write';

/** struct hd_geometry. */
export interface Geometry {
  readonly heads: number;
  readonly sectors: number;
  readonly cylinders: number;
  readonly start: number;
}

export interface DeviceShape {
  /** 'memory', or the image's path. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly readOnly: boolean;
}

export class BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly read_only: boolean;
  readonly open_mutex = new Mutex('open_mutex');
  readonly ops: block_device_operations;
  readonly queue: RequestQueue;
  /** Write errors of buffers, for those who must hear of them. */
  readonly wb_err = new Errseq();
  #openers = 0;
  #holder: object | undefined;

  constructor(
    shape: DeviceShape,
    driver: Driver,
    ops: block_device_operations,
    sched: Scheduler,
    validator: Validator,
  ) {
    this.name = shape.name;
    this.size = shape.size;
    this.read_only = shape.readOnly;
    this.ops = ops;
    this.queue = new RequestQueue(driver, shape, sched, validator);
  }

  get openers(): number {
    return this.#openers;
  }

  /** Set by blkdev_get and blkdev_put, under open_mutex. */
  claim(holder: object | undefined): void {
    if (holder !== undefined && this.#holder !== undefined && this.#holder !== holder) {
      throw errno('EBUSY', `${this.name} is in use`);
    }
    if (holder !== undefined) this.#holder = holder;
  }

  counted(change: 1 | -1): number {
    this.#openers += change;
    if (this.#openers === 0) this.#holder = undefined;
    return this.#openers;
  }
}

/**
 * Open a device, for `holder` alone where one is given (blkdev_get). Takes open_mutex.
 * @throws EBUSY where another holds it; what the device's open throws
 */
export async function blkdev_get(task: Task, bdev: BlockDevice, mode: OpenMode, holder?: object): Promise<void> {
  using _mutex = await bdev.open_mutex.lock(task);
  bdev.claim(holder);
  if (bdev.openers === 0) {
    await call(task, rows.open, { disk: bdev.open_mutex }, () => bdev.ops.open?.(task, bdev, mode));
  }
  bdev.counted(1);
}

/** Close a device; the last one to do so releases it (blkdev_put). Takes open_mutex. */
export async function blkdev_put(task: Task, bdev: BlockDevice): Promise<void> {
  using _mutex = await bdev.open_mutex.lock(task);
  if (bdev.counted(-1) > 0) return;
  await call(task, rows.release, { disk: bdev.open_mutex }, () => bdev.ops.release?.(task, bdev));
}
