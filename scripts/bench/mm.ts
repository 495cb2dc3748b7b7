/**
 * What the page cache costs on a hit: 4 KiB reads and writes of a cached file against the bare copy of as many bytes, with the checks off and on, in one
 * process, in interleaved rounds, by medians of the processor time. Run it pinned: `taskset -c 1 node dist/scripts/bench/mm.js [ROUNDS]`, with --cpu-prof to see where
 * the time goes.
 */
import { Lockdep } from '../../src/locking/lockdep.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { AddressSpace, type MappingHost, type MmFile } from '../../src/mm/address-space.js';
import { filemap_read } from '../../src/mm/filemap-read.js';
import { generic_perform_write } from '../../src/mm/filemap-write.js';
import { filemap_dirty_folio } from '../../src/mm/folio-state.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { ram_aops } from '../../src/mm/libfs.js';
import { MemoryControl } from '../../src/mm/memory.js';
import type { Kiocb } from '../../src/mm/operations.js';
import { newRaState } from '../../src/mm/readahead-state.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import type { EnforceLevel } from '../../src/sched/validator.js';

const ROUNDS = Number(process.argv[2] ?? 9);
const COUNT = 100_000;
const CHUNK = 4096;
const CHUNKS = 1024;
const BIG = 1 << 20;

const sched = new RealScheduler();
const validator = new Lockdep('warn', (violation) => console.error(violation.message));
const memory = new MemoryControl(sched, { limit: 1 << 28, validator, dirtyRatio: 90, dirtyBackgroundRatio: 80 });
const host: MappingHost = { i_ino: 1, i_size: 0, i_rwsem: new RwSem('i_rwsem'), mark_dirty_pages: () => undefined };
const mapping = new AddressSpace(host, { ...ram_aops, dirty_folio: filemap_dirty_folio }, memory);
const file: MmFile = { f_mapping: mapping, f_ra: newRaState(32), f_wb_err: 0 };
const data = Buffer.alloc(BIG, 7);
const chunk = data.subarray(0, CHUNK);
const store = Buffer.alloc(CHUNKS * CHUNK);

function iocbAt(ki_pos: number): Kiocb {
  return { ki_filp: file, ki_pos, direct: false, sync: false, append: false, nowait: false };
}

function sync<T>(value: T | Promise<T>): T {
  if (value instanceof Promise) throw new Error('a cached read or write has made a promise');
  return value;
}

function write(task: Task, pos: number, bytes: Buffer): void {
  using _lock = sync(host.i_rwsem?.write(task));
  sync(generic_perform_write(task, iocbAt(pos), IovIter.ofSource(bytes)));
}

function read(task: Task, pos: number, bytes: number): void {
  const iter = IovIter.ofDest(bytes);
  sync(filemap_read(task, iocbAt(pos), iter));
  iter.release();
}

interface Work {
  readonly name: string;
  readonly count: number;
  one(task: Task, i: number): void;
}

/** Scattered, and the same in each run. */
const at = (i: number): number => ((i * 7919) % CHUNKS) * CHUNK;

const works: readonly Work[] = [
  { name: 'copy 4 KiB', count: COUNT, one: (_task, i) => void chunk.copy(store, at(i)) },
  { name: 'view of 4 KiB', count: COUNT, one: (_task, i) => void store.subarray(at(i), at(i) + CHUNK) },
  { name: 'read 4 KiB', count: COUNT, one: (task, i) => read(task, at(i), CHUNK) },
  { name: 'read 100 bytes', count: COUNT, one: (task, i) => read(task, at(i) + 50, 100) },
  { name: 'write 4 KiB', count: COUNT, one: (task, i) => write(task, at(i), chunk) },
  { name: 'copy 1 MiB', count: COUNT / 200, one: (_task, i) => void data.copy(store, (i % 3) * BIG) },
  { name: 'read 1 MiB', count: COUNT / 200, one: (task, i) => read(task, (i % 3) * BIG, BIG) },
  { name: 'write 1 MiB', count: COUNT / 200, one: (task, i) => write(task, (i % 3) * BIG, data) },
];

/** Nanoseconds of processor time for each. */
function measure(work: Work, enforce: EnforceLevel): number {
  validator.enforce = enforce;
  const task = new Task(sched, validator, { comm: 'bench' });
  const before = process.cpuUsage();
  for (let i = 0; i < work.count; i++) work.one(task, i);
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / work.count;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? 0;

const setup = new Task(sched, validator, { comm: 'setup' });
for (let i = 0; i < CHUNKS; i++) write(setup, i * CHUNK, chunk);
const results = new Map<string, { off: number[]; warn: number[] }>();
for (let round = 0; round <= ROUNDS; round++) {
  for (const work of works) {
    const result = results.get(work.name) ?? { off: [], warn: [] };
    const off = measure(work, 'off');
    const warn = measure(work, 'warn');
    // The first round warms up.
    if (round > 0) {
      result.off.push(off);
      result.warn.push(warn);
    }
    results.set(work.name, result);
  }
}
console.log('work              enforce=off   enforce=warn   (ns of processor time each, medians)');
for (const [name, { off, warn }] of results) {
  console.log(`${name.padEnd(16)}${median(off).toFixed(0).padStart(13)}${median(warn).toFixed(0).padStart(15)}`);
}
