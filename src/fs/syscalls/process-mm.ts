/** The address spaces of processes (task->mm), each made when it is first asked for. */
import type { MmStruct } from '../../mm/mm-struct.js';
import { exit_mmap, mm_alloc } from '../../mm/mmap.js';
import type { Task } from '../../sched/task.js';
import type { Machine } from '../super-block.js';

/** A process as far as its memory goes. */
interface MemoryOwner {
  readonly machine: Machine;
  /** Its addresses are translated. */
  readonly mmu: boolean;
}

const spaces = new WeakMap<MemoryOwner, MmStruct>();

/** The address space of a process (task->mm). */
export function mmOf(process: MemoryOwner): MmStruct {
  let mm = spaces.get(process);
  if (mm === undefined) {
    mm = mm_alloc(process.machine.memory, process.mmu);
    spaces.set(process, mm);
  }
  return mm;
}

/** The end of its memory, for exit(2) and execve(2) (exit_mmap). Takes mmap_lock exclusively. */
export async function exit_mm(task: Task, process: MemoryOwner): Promise<void> {
  const mm = spaces.get(process);
  if (mm === undefined) return;
  spaces.delete(process);
  await exit_mmap(task, mm);
}
