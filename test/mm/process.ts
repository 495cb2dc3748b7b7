/** Processes for tests: an address space over a fake file, and the counts of what its file was asked. */

import type { AddressSpace } from '../../src/mm/address-space.js';
import { generic_file_mmap } from '../../src/mm/filemap-fault.js';
import { file_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { load, store } from '../../src/mm/gup.js';
import type { MmStruct } from '../../src/mm/mm-struct.js';
import { mm_alloc, mmap_region } from '../../src/mm/mmap.js';
import { newRaState } from '../../src/mm/readahead-state.js';
import { thp_get_unmapped_area } from '../../src/mm/unmapped-area.js';
import type { VmArea, VmFile, vm_operations_struct } from '../../src/mm/vma.js';
import type { Task } from '../../src/sched/task.js';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.js';
import type { FakeFile, World } from './fake-file.js';

/** An open file as areas see it. */
export class TestVmFile implements VmFile {
  readonly f_mapping: AddressSpace;
  readonly f_ra = newRaState(8);
  f_wb_err: number;
  /** Users of the open file. */
  users = 1;
  /** Operations in place of those of files in the page cache. */
  readonly #ops: vm_operations_struct | undefined;
  readonly #prepare: ((vma: VmArea) => void) | undefined;

  constructor(file: FakeFile, ops?: vm_operations_struct, prepare?: (vma: VmArea) => void) {
    this.f_mapping = file.mapping;
    this.f_wb_err = file.mapping.wb_err.sample();
    this.#ops = ops;
    this.#prepare = prepare;
  }

  get_file(): void {
    this.users++;
  }

  fput(_task: Task): void {
    this.users--;
  }

  mmap(_task: Task, vma: VmArea): void {
    generic_file_mmap(this.f_mapping, vma);
    if (this.#ops !== undefined) vma.vm_ops = { ...vma.vm_ops, ...this.#ops };
    this.#prepare?.(vma);
  }

  get_unmapped_area(_task: Task, mm: MmStruct, addr: number, length: number, pgoff: number): number {
    return thp_get_unmapped_area(mm, addr, length, pgoff * PAGE_SIZE);
  }

  fsync(task: Task, start: number, end: number): Promise<void> {
    return file_write_and_wait_range(task, this, start, end);
  }
}

export class Process {
  readonly mm: MmStruct;
  readonly task: Task;

  constructor(world: World, mm = mm_alloc(world.memory)) {
    this.task = world.task('process');
    this.mm = mm;
  }

  mmap(file: VmFile | undefined, length: number, flags = MAP_SHARED, offset = 0, addr = 0): Promise<number> {
    const prot = PROT_READ | PROT_WRITE;
    const rest = file === undefined ? {} : { file };
    return mmap_region(this.task, this.mm, { addr, length, prot, flags, offset, ...rest });
  }

  async load(address: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
    await load(this.task, this.mm, address, bytes);
    return bytes;
  }

  store(address: number, bytes: Buffer | string): Promise<void> {
    return store(this.task, this.mm, address, Buffer.from(bytes));
  }
}

/** What a promise rejects with, in words: the signal, or the errno's name. */
export async function failureOf(body: Promise<unknown>): Promise<string> {
  try {
    await body;
    return 'none';
  } catch (error) {
    if (error instanceof Error && 'signal' in error) return String(error.signal);
    if (error instanceof Error && 'code' in error) return String(error.code);
    return String(error);
  }
}
