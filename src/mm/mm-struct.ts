/** The address space of a process (struct mm_struct): its areas, its page tables, and the locks over them. */
import { GUARDED, guard_write } from '../locking/guarded.js';
import { RwSem } from '../locking/rwsem.js';
import { SpinLock } from '../locking/spinlock.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { PAGE_SIZE } from './folio.js';
import type { MemoryControl } from './memory.js';
import { PageTable } from './page-table.js';
import type { VmArea } from './vma.js';

/** The lowest address that can be mapped (vm.mmap_min_addr), and the first that no process has (TASK_SIZE). */
export const MMAP_MIN_ADDR = 0x10000;
export const TASK_SIZE = 2 ** 47 - PAGE_SIZE;
/** Where areas go whose place nobody has chosen: down from here. */
const MMAP_BASE = 0x7ff000000000;

export class MmStruct {
  /** Guards the areas: shared for faults, exclusively to change them. */
  readonly mmap_lock = new RwSem('mmap_lock');
  /** Guards the page tables. One for all of them, where Linux has one for each table. */
  readonly page_table_lock = new SpinLock('page_table_lock');
  readonly pgd = new PageTable();
  readonly memory: MemoryControl;
  /** Addresses are translated: pages may come when they are accessed. */
  readonly mmu: boolean;
  /** In the order of addresses, without overlap. */
  readonly #vmas: VmArea[] = [];

  constructor(memory: MemoryControl, mmu = true) {
    this.memory = memory;
    this.mmu = mmu;
  }

  /** The areas, lowest first. */
  get vmas(): readonly VmArea[] {
    return this.#vmas;
  }

  /** Bytes mapped (total_vm). */
  get size(): number {
    return this.#vmas.reduce((sum, vma) => sum + vma.vm_end - vma.vm_start, 0);
  }

  /** The first area that ends behind `address`; it may begin behind it too (find_vma). mmap_lock is held. */
  find_vma(address: number): VmArea | undefined {
    return this.#vmas[this.#search(address)];
  }

  /** The area that contains `address` (vma_lookup). mmap_lock is held. */
  vma_lookup(address: number): VmArea | undefined {
    const vma = this.find_vma(address);
    return vma !== undefined && vma.vm_start <= address ? vma : undefined;
  }

  /** The areas that overlap bytes `start` to before `end`. mmap_lock is held. */
  overlapping(start: number, end: number): VmArea[] {
    const found: VmArea[] = [];
    for (let i = this.#search(start); i < this.#vmas.length; i++) {
      const vma = this.#vmas[i];
      if (vma === undefined || vma.vm_start >= end) break;
      found.push(vma);
    }
    return found;
  }

  /** Put an area that overlaps no other in its place (insert_vm_struct). mmap_lock is held exclusively. */
  insert(task: Task, vma: VmArea): void {
    guard_write(task, GUARDED.vma, this.mmap_lock);
    this.#vmas.splice(this.#search(vma.vm_start), 0, vma);
  }

  /** Take an area out. mmap_lock is held exclusively. */
  remove(task: Task, vma: VmArea): void {
    guard_write(task, GUARDED.vma, this.mmap_lock);
    const at = this.#vmas.indexOf(vma);
    if (at >= 0) this.#vmas.splice(at, 1);
  }

  /** Whether `length` bytes can be mapped at an address and nothing is there. mmap_lock is held. */
  fits(address: number, length: number): boolean {
    const inside = address >= MMAP_MIN_ADDR && address + length <= TASK_SIZE;
    return inside && this.overlapping(address, address + length).length === 0;
  }

  /**
   * Where `length` bytes fit (mm_get_unmapped_area): at `hint` if that is free, else as high as possible, `beyond` bytes behind a multiple of `align`.
   * mmap_lock is held exclusively.
   * @throws ENOMEM where there is no such gap
   */
  get_unmapped_area(hint: number, length: number, align = PAGE_SIZE, beyond = 0): number {
    if (this.fits(hint, length)) return hint;
    let end = MMAP_BASE;
    for (let i = this.#vmas.length - 1; i >= -1; i--) {
      const vma = i < 0 ? undefined : this.#vmas[i];
      const start = Math.floor((end - length - beyond) / align) * align + beyond;
      if (start >= (vma?.vm_end ?? MMAP_MIN_ADDR)) return start;
      if (vma !== undefined && vma.vm_start < end) end = vma.vm_start;
    }
    throw errno('ENOMEM', 'no room in the address space');
  }

  /** The index of the first area that ends behind `address`. */
  #search(address: number): number {
    let low = 0;
    let high = this.#vmas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#vmas[middle]?.vm_end ?? 0) > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
