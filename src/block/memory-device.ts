/**
 * A device in memory, up to 1 TiB and more, that holds what is stored and nothing else (drivers/block/brd.c): blocks of 4 KiB in slabs of
 * 1 MiB; a slab that covers only holes is not there.
 */
import type { Scheduler } from '../sched/scheduler.js';
import type { Validator } from '../sched/validator.js';
import { SECTOR_SIZE } from './bio.js';
import { BlockDevice } from './block-device.js';
import type { Driver } from './request-queue.js';

const BLOCK = 4096;
/** Blocks that share one piece of memory. */
const PER_SLAB = 256;
const SLAB = BLOCK * PER_SLAB;

/** One piece of the device's address space: its memory, and which of its blocks are stored. */
interface Slab {
  readonly bytes: Buffer;
  readonly stored: Uint8Array;
  count: number;
}

export class SparseMemory implements Driver {
  readonly #slabs = new Map<number, Slab>();
  #stored = 0;

  /** Bytes of the blocks that are stored. */
  get storedBytes(): number {
    return this.#stored * BLOCK;
  }

  /** Bytes of memory taken from the machine. */
  get allocatedBytes(): number {
    return this.#slabs.size * SLAB;
  }

  read(offset: number, into: Buffer): void {
    this.#pieces(offset, into.length, (slab, at, done, length) => {
      const slabHere = this.#slabs.get(slab);
      if (slabHere === undefined) into.fill(0, done, done + length);
      else slabHere.bytes.copy(into, done, at, at + length);
    });
  }

  write(offset: number, from: Buffer): void {
    this.#pieces(offset, from.length, (index, at, done, length) => {
      const slab = this.#slab(index);
      from.copy(slab.bytes, at, done, done + length);
      for (let block = Math.floor(at / BLOCK); block <= Math.floor((at + length - 1) / BLOCK); block++) {
        if (slab.stored[block] === 0) {
          slab.stored[block] = 1;
          slab.count++;
          this.#stored++;
        }
      }
    });
  }

  zero(offset: number, length: number): void {
    this.discard(offset, length);
  }

  /** Forget a range: whole blocks are given back, the rest is zeroed. */
  discard(offset: number, length: number): void {
    this.#pieces(offset, length, (index, at, _done, size) => {
      const slab = this.#slabs.get(index);
      if (slab === undefined) return;
      slab.bytes.fill(0, at, at + size);
      for (let block = Math.ceil(at / BLOCK); (block + 1) * BLOCK <= at + size; block++) {
        if (slab.stored[block] === 1) {
          slab.stored[block] = 0;
          slab.count--;
          this.#stored--;
        }
      }
      if (slab.count === 0) this.#slabs.delete(index);
    });
  }

  flush(): undefined {
    return undefined;
  }

  /** The stored bytes of a block themselves; undefined for a hole. */
  direct(offset: number): Buffer | undefined {
    const slab = this.#slabs.get(Math.floor(offset / SLAB));
    const at = offset % SLAB;
    return slab?.stored[Math.floor(at / BLOCK)] === 1 ? slab.bytes.subarray(at, at + BLOCK) : undefined;
  }

  #slab(index: number): Slab {
    let slab = this.#slabs.get(index);
    if (slab === undefined) {
      // Zeroed by the system, and returned to it as soon as it is collected.
      slab = { bytes: Buffer.from(new ArrayBuffer(SLAB)), stored: new Uint8Array(PER_SLAB), count: 0 };
      this.#slabs.set(index, slab);
    }
    return slab;
  }

  /** Cut a range at the borders of slabs. */
  #pieces(
    offset: number,
    length: number,
    each: (slab: number, at: number, done: number, length: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const position = offset + done;
      const at = position % SLAB;
      const size = Math.min(SLAB - at, length - done);
      each(Math.floor(position / SLAB), at, done, size);
      done += size;
    }
  }
}

/**
 * Make a memory device.
 * @param size bytes
 */
export function memoryDevice(size: number, sched: Scheduler, validator: Validator): BlockDevice {
  const memory = new SparseMemory();
  return new BlockDevice(
    { name: 'memory', size, readOnly: false },
    memory,
    {
      direct_access: (_task, _bdev, sector) => memory.direct(sector * SECTOR_SIZE),
      getgeo: () => ({ heads: 64, sectors: 32, cylinders: Math.floor(size / (64 * 32 * SECTOR_SIZE)), start: 0 }),
    },
    sched,
    validator,
  );
}
