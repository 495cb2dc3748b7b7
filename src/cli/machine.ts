/** The machine that a filesystem lives on: scheduler, validator, memory; and the devices that sources name. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BlockDevice } from '../block/block-device.js';
import { type ImageOptions, imageDevice } from '../block/image-device.js';
import { ImageError } from '../block/image-hold.js';
import { MAX_MEMORY_DEVICE, memoryDevice } from '../block/memory-device.js';
import type { Machine, WritebackTimes } from '../fs/super-block.js';
import { MountError } from '../fuse/mount-options.js';
import { FormatError } from '../latch/format/superblock.js';
import type { ViolationSink } from '../locking/lockdep/violation.js';
import { Lockdep } from '../locking/lockdep.js';
import { MemoryControl } from '../mm/memory.js';
import { locate } from '../report/implementation.js';
import { RealScheduler } from '../sched/real.js';
import type { EnforceLevel } from '../sched/validator.js';
import { budget, resources } from './budget.js';
import { CliError } from './error.js';
import { isMemory, parseSize } from './size.js';

const DEFAULT_SIZE = 4 * 2 ** 30;
/** Milliseconds for which tasks run at most before new requests, timers and completions have their turn, where their work is long (sched_base_slice). */
const SLICE = 3;
/** Milliseconds after which a task that sleeps is reported (kernel.hung_task_timeout_secs). */
const HUNG_TASK = 120_000;

/**
 * Percent of the cache that may be dirty, and from which on it is written back. On a device in memory that only makes pages free to be dropped: what is
 * written over before it is due need never be copied.
 */
const DIRTY_IN_MEMORY = { dirtyRatio: 85, dirtyBackgroundRatio: 65 };

export interface MachineOptions {
  readonly enforce: EnforceLevel;
  readonly stacks: boolean;
  /** Bytes of page cache, instead of what the budget says. */
  readonly pageCache?: number;
  /** The filesystem is in memory. */
  readonly inMemory?: boolean;
  /** As of Machine. */
  readonly multigrain?: boolean;
  /** It may have locks of its own, of which locking/order.ts knows nothing. */
  readonly ownLocks?: boolean;
  readonly sink: ViolationSink;
  /** Where the filesystem tells of a replay, or of its end. */
  readonly printk?: (line: string) => void;
}

/** A machine whose validator is known to be lockdep. */
export interface ValidatedMachine extends Machine {
  readonly validator: Lockdep;
  /** Buffers that each of its devices keeps, if not as many as usual. */
  readonly maxBuffers?: number;
}

/** The machine of a command: the scheduler on real time, and a validator that tells `sink` of breaches. */
export function newMachine(options: MachineOptions): ValidatedMachine {
  const sched = new RealScheduler({ slice: SLICE });
  const validator = new Lockdep(options.enforce, options.sink, {
    stacks: options.stacks,
    hungTask: HUNG_TASK,
    declared: options.ownLocks !== true,
    ...(options.stacks ? { locate } : {}),
  });
  const dirty = options.inMemory === true ? DIRTY_IN_MEMORY : {};
  const { pageCache, inodes, buffers } = budget(resources(), options.inMemory === true);
  const limit = options.pageCache ?? pageCache;
  const printk = options.printk === undefined ? {} : { printk: options.printk };
  const memory = new MemoryControl(sched, { limit, inodes, validator, ...dirty });
  const { multigrain = true } = options;
  return { sched, validator, memory, multigrain, maxBuffers: buffers, writeback: hostWriteback(), ...printk };
}

/**
 * What the administrator of this machine has set for all filesystems, at this moment; what cannot be read is as usual.
 * @param dir where the settings are
 */
export function hostWriteback(dir = '/proc/sys/vm'): Partial<WritebackTimes> {
  const times: Partial<Record<keyof WritebackTimes, number>> = {};
  for (const [name, file, unit] of [
    ['interval', 'dirty_writeback_centisecs', 10],
    ['expire', 'dirty_expire_centisecs', 10],
    ['dirtytime_expire', 'dirtytime_expire_seconds', 1000],
  ] as const) {
    try {
      const text = readFileSync(join(dir, file), 'latin1').trim();
      if (/^\d+$/.test(text)) times[name] = Number(text) * unit;
    } catch {
      // An older kernel, or a container that shows none.
    }
  }
  return times;
}

/** The device that a source names. @param options of an image @throws CliError, ImageError */
export function openSource(
  machine: ValidatedMachine,
  source: string,
  size: number | undefined,
  readOnly: boolean,
  options: ImageOptions = {},
): BlockDevice {
  const bdev = deviceOf(machine, source, size, readOnly, options);
  bdev.buffers.limit = machine.maxBuffers ?? bdev.buffers.limit;
  return bdev;
}

function deviceOf(
  machine: Machine,
  source: string,
  size: number | undefined,
  readOnly: boolean,
  options: ImageOptions,
): BlockDevice {
  if (!isMemory(source)) return imageDevice(source, readOnly, machine.sched, machine.validator, options);
  const given = source.slice('memory:'.length);
  const bytes = given === '' ? (size ?? DEFAULT_SIZE) : parseSize(given, `source ${source}`);
  if (bytes > MAX_MEMORY_DEVICE)
    throw new CliError(`${source} of ${bytes} bytes is too large: at most ${MAX_MEMORY_DEVICE / 2 ** 40}T`, 2);
  return memoryDevice(Math.floor(bytes / 4096) * 4096, machine.sched, machine.validator);
}

/** What a failure is to the user: errors about a thing that the user named are one line and status 1. */
export function asCliError(error: unknown): unknown {
  if (error instanceof ImageError || error instanceof FormatError || error instanceof MountError) {
    return new CliError(error.message);
  }
  return error;
}
