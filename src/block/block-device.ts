/**
 * struct block_device: a device that can be opened, and its operations under open_mutex.
 *
 * block/ is devices, their requests and buffers; it may import report/ and below.
 */
import { block_device_operations as rows } from '../contract/block-device.js';
import { call, type LockRef } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { Mutex } from '../locking/mutex.js';
import type { Awaitable } from '../sched/awaitable.js';
import { Errno, errno } from '../sched/errno.js';
import { Errseq } from '../sched/errseq.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import { invalidate_bdev } from './buffer-cache.js';
import { BufferStore } from './buffer-store.js';
import { sync_blockdev } from './buffer-writeback.js';
import { type Driver, RequestQueue } from './request-queue.js';

/**
 * What a device can do. Locks: the section block_device_operations. A disk has no partitions here, so its gendisk and its
 * block device are one object. An operation that fails throws its errno.
 */
export interface block_device_operations {
  open?(task: Task, bdev: BlockDevice, mode: OpenMode): Awaitable<void>;
  release?(task: Task, disk: BlockDevice, mode: OpenMode): Awaitable<void>;
  /** @param cmd the command's number @param arg what it reads @returns what it writes */
  ioctl?(task: Task, bdev: BlockDevice, mode: OpenMode, cmd: number, arg: Buffer): Awaitable<Buffer>;
  compat_ioctl?(task: Task, bdev: BlockDevice, mode: OpenMode, cmd: number, arg: Buffer): Awaitable<Buffer>;
  /** The stored bytes from `sector` on themselves, as many of `length` as lie together; at least a page. */
  direct_access?(task: Task, bdev: BlockDevice, sector: number, length: number): Awaitable<Buffer>;
  unlock_native_capacity?(task: Task, disk: BlockDevice): Awaitable<void>;
  getgeo?(task: Task, bdev: BlockDevice): Awaitable<Geometry>;
  swap_slot_free_notify?(task: Task, bdev: BlockDevice, slot: number): void;
}

export type OpenMode = 'read' | 'write';

/** struct hd_geometry. */
export interface Geometry {
  readonly heads: number;
  readonly sectors: number;
  readonly cylinders: number;
  /** First sector of the device on its disk. */
  readonly start: number;
}

/** For whom a device is opened alone (struct blk_holder_ops). */
export interface blk_holder_ops {
  /** The device has lost what it holds, or a part of it. May not sleep. */
  mark_dead(reason: Errno): void;
}

/** Where a driver does not say otherwise. */
const DISCARD_GRANULARITY = 4096;

export interface DeviceShape {
  /** 'memory', or the image's path. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly readOnly: boolean;
  /** What it holds ends with the process, so that no crash can bring back what was freed. */
  readonly ephemeral?: boolean;
}

export class BlockDevice {
  readonly name: string;
  readonly read_only: boolean;
  /**
   * What it holds ends with the process. What a filesystem frees there may be discarded at once, where on other devices that must wait until
   * the metadata that say so are stable.
   */
  readonly ephemeral: boolean;
  readonly open_mutex = new Mutex('open_mutex');
  readonly ops: block_device_operations;
  readonly queue: RequestQueue;
  readonly validator: Validator;
  /** The device's blocks in memory. */
  readonly buffers = new BufferStore();
  /** Write errors of buffers, for those who must hear of them. */
  readonly wb_err = new Errseq();
  /** Areas of processes through which its memory is reached directly. */
  #direct = 0;
  #openers = 0;
  /** What its holder wants to be told. */
  holder_ops: blk_holder_ops | undefined;
  /** Who has it for himself, and how often; bd_holder, bd_holders. */
  #holder: object | undefined;
  #holds = 0;

  constructor(
    shape: DeviceShape,
    driver: Driver,
    ops: block_device_operations,
    sched: Scheduler,
    validator: Validator,
  ) {
    this.name = shape.name;
    this.read_only = shape.readOnly;
    this.ephemeral = shape.ephemeral ?? false;
    this.ops = ops;
    this.validator = validator;
    this.queue = new RequestQueue(driver, { size: shape.size, readOnly: shape.readOnly }, sched, validator);
  }

  /** Bytes. */
  get size(): number {
    return this.queue.limits.size;
  }

  /** Bytes of which a discard frees multiples; 0 for a device that cannot discard (bdev_discard_granularity). */
  get discard_granularity(): number {
    return this.queue.driver.discard_granularity ?? DISCARD_GRANULARITY;
  }

  /** The device has become larger, or has shown that it is (set_capacity). */
  set_capacity(bytes: number): void {
    this.queue.limits.size = bytes;
  }

  /** What it holds is lost, or a part of it: told by the driver (bdev_mark_dead). Does not sleep. */
  mark_dead(reason: Errno): void {
    this.holder_ops?.mark_dead(reason);
  }

  /** Areas of processes that map its memory. */
  get direct_users(): number {
    return this.#direct;
  }

  /** One more area maps its memory. */
  direct_get(): void {
    this.#direct++;
  }

  /** One area less maps its memory; after the last, what direct_access has handed out is the device's again. */
  direct_put(): void {
    if (--this.#direct === 0) this.queue.driver.unpin?.();
  }

  get openers(): number {
    return this.#openers;
  }

  /** Who has it for himself, or undefined. */
  get holder(): object | undefined {
    return this.#holder;
  }

  /** For blkdev_get, under open_mutex: one more opener. */
  opened(task: Task, holder: object | undefined): void {
    guard_write(task, GUARDED.bd_openers, this.open_mutex);
    this.#openers++;
    if (holder === undefined) return;
    this.#holder = holder;
    this.#holds++;
  }

  /** For blkdev_put, under open_mutex: one opener less. The last one leaves no holder behind. @returns how many are left */
  closed(task: Task, holder: object | undefined): number {
    guard_write(task, GUARDED.bd_openers, this.open_mutex);
    if (this.#openers === 0) throw errno('EINVAL', `${this.name} is closed more often than it was opened`);
    this.#openers--;
    if (holder !== undefined && holder === this.#holder) this.#holds--;
    if (this.#openers === 0) this.#holds = 0;
    if (this.#holds === 0) this.#holder = this.holder_ops = undefined;
    return this.#openers;
  }
}

/**
 * Open a device, for `holder` alone where one is given (blkdev_get). Takes open_mutex.
 * @throws EBUSY where another holds it; EACCES to write to a read-only device; what the device's open throws
 */
export async function blkdev_get(task: Task, bdev: BlockDevice, mode: OpenMode, holder?: object): Promise<void> {
  using _mutex = await bdev.open_mutex.lock(task);
  if (holder !== undefined && bdev.holder !== undefined && bdev.holder !== holder) {
    throw errno('EBUSY', `${bdev.name} is in use`);
  }
  if (mode === 'write' && bdev.read_only) throw errno('EACCES', `${bdev.name} is read-only`);
  if (bdev.openers === 0) {
    const { open } = bdev.ops;
    if (open !== undefined) await call(task, rows.open, { disk: bdev.open_mutex }, () => open(task, bdev, mode));
  }
  bdev.opened(task, holder);
}

/**
 * Close a device, given up by `holder` where it was opened for one (blkdev_put). The last to do so writes its buffers, waits for
 * what is under way, and releases it. Takes open_mutex.
 * @throws what the device's release throws. Write errors were recorded in wb_err, as in Linux
 */
export async function blkdev_put(
  task: Task,
  bdev: BlockDevice,
  holder?: object,
  mode: OpenMode = 'write',
): Promise<void> {
  using _mutex = await bdev.open_mutex.lock(task);
  if (bdev.closed(task, holder) > 0) return;
  try {
    await sync_blockdev(task, bdev);
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
  }
  await bdev.queue.drain(task);
  invalidate_bdev(bdev);
  const { release } = bdev.ops;
  if (release !== undefined) await call(task, rows.release, { disk: bdev.open_mutex }, () => release(task, bdev, mode));
}

/**
 * The stored bytes themselves, without a copy (bdev_direct_access).
 * @param length bytes wanted; fewer come where they do not lie together
 * @throws EOPNOTSUPP ERANGE EINVAL
 */
export function bdev_direct_access(task: Task, bdev: BlockDevice, sector: number, length = 4096): Awaitable<Buffer> {
  const { direct_access } = bdev.ops;
  if (direct_access === undefined) throw errno('EOPNOTSUPP', `${bdev.name} has no direct_access`);
  return call(task, rows.direct_access, { disk: bdev.open_mutex }, () => direct_access(task, bdev, sector, length));
}

/** Heads, sectors and cylinders, made up where the device has none (HDIO_GETGEO). @throws ENOTTY */
export function blkdev_getgeo(task: Task, bdev: BlockDevice): Awaitable<Geometry> {
  const { getgeo } = bdev.ops;
  if (getgeo === undefined) throw errno('ENOTTY', `${bdev.name} has no geometry`);
  return call(task, rows.getgeo, { disk: bdev.open_mutex }, () => getgeo(task, bdev));
}

/** Let a disk show all it has (disk_unlock_native_capacity). Does nothing where the disk hides nothing. */
export function disk_unlock_native_capacity(task: Task, disk: BlockDevice): Awaitable<void> {
  const { unlock_native_capacity } = disk.ops;
  if (unlock_native_capacity === undefined) return undefined;
  return call(task, rows.unlock_native_capacity, { disk: disk.open_mutex }, () => unlock_native_capacity(task, disk));
}

/**
 * A swap slot is free (swap_range_free). May not sleep.
 * @param locks swap_lock, which the task holds, and the folio's lock where there is one
 */
export function swap_slot_free_notify(
  task: Task,
  bdev: BlockDevice,
  slot: number,
  locks: { readonly swap: LockRef<'swap_lock'>; readonly folio?: LockRef<'folio'> },
): void {
  const { swap_slot_free_notify: notify } = bdev.ops;
  if (notify === undefined) return;
  call(task, rows.swap_slot_free_notify, { ...locks, disk: bdev.open_mutex }, () => notify(task, bdev, slot));
}
