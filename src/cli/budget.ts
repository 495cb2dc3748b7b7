/** How much of what is cached there may be: by the machine's memory, and by the heap, in which every page, name and inode has an object. */
import { totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import { MAX_INODES } from '../mm/memory.js';

const MIB = 2 ** 20;
const PAGE = 4096;
const MIN_CACHE = 64 * MIB;
const MAX_CACHE = 512 * MIB;
/** Of files in memory: what is cached of them is there twice, and reading it again costs a copy. */
const MAX_CACHE_IN_MEMORY = 128 * MIB;
/** Buffers of a device: 64 MiB. */
const MAX_BUFFERS = 16_384;

/**
 * Bytes of heap, as measured: the only page of a small file with its tree; for each unused inode also two names, which have inodes of their own; a buffer with
 * the journal's part.
 */
const HEAP_PER_PAGE = 1_100;
const HEAP_PER_INODE = 2_000 + 2 * 2_800;
const HEAP_PER_BUFFER = 600;
/** The part of what is free in the heap that caches may fill; the rest is for requests under way, open files, and the collector, which needs room to be fast. */
const HEAP_FOR_CACHES = 0.5;
/** What V8 takes for a semispace, in MiB, unless it is told otherwise (scripts/latchfs does). */
const SEMISPACE = 16;
/** Bytes of heap of what is compiled only when it is used. */
const CODE = 12 * MIB;

/** The machine as far as it matters. */
export interface Resources {
  /** Bytes of memory that the process may use. */
  readonly memory: number;
  /** Bytes of heap that are free for objects that live long. */
  readonly heap: number;
}

export interface Budget {
  /** Bytes of page cache. */
  readonly pageCache: number;
  /** Unused inodes of each filesystem (MemoryOptions.inodes). */
  readonly inodes: number;
  /** Buffers of each device. */
  readonly buffers: number;
}

/** Bytes of the heap that young objects need: three semispaces, which V8 counts into its limit, and as much room behind them, or the collector has no rest. */
function young(): number {
  const given = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].join(' ');
  return 4 * Number(/--max[-_]semi[-_]space[-_]size=(\d+)/.exec(given)?.[1] ?? SEMISPACE) * MIB;
}

/** As it is now. A limit that a container sets counts as the machine's memory. */
export function resources(): Resources {
  const { heap_size_limit, used_heap_size } = getHeapStatistics();
  const limit = process.constrainedMemory();
  return {
    memory: limit > 0 ? Math.min(limit, totalmem()) : totalmem(),
    heap: heap_size_limit - young() - used_heap_size - CODE,
  };
}

/**
 * An eighth of the memory as page cache, and as many inodes as there are at most; less of each where the heap is too small for their objects.
 * @param inMemory the files are in memory
 */
export function budget({ memory, heap }: Resources, inMemory: boolean): Budget {
  const most = inMemory ? MAX_CACHE_IN_MEMORY : MAX_CACHE;
  const pageCache = Math.min(most, Math.max(MIN_CACHE, Math.floor(memory / 8)));
  const full = (pageCache / PAGE) * HEAP_PER_PAGE + MAX_INODES * HEAP_PER_INODE + MAX_BUFFERS * HEAP_PER_BUFFER;
  const part = Math.min(1, Math.max(0.01, (heap * HEAP_FOR_CACHES) / full));
  return {
    pageCache: Math.floor((pageCache * part) / PAGE) * PAGE,
    inodes: Math.floor(MAX_INODES * part),
    buffers: Math.floor(MAX_BUFFERS * part),
  };
}
