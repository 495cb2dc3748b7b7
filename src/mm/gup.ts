/** What a process, the system, or a debugger does at an address of a process: loads and stores with the faults that they take (mm/gup.c, access_process_vm). */
import { vm_operations_struct as rows } from '../contract/vm.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { handle_mm_fault } from './fault.js';
import { PAGE_SIZE } from './folio.js';
import type { MmStruct } from './mm-struct.js';
import { PMD_PAGES } from './page-table.js';
import {
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_TRIED,
  FAULT_FLAG_WRITE,
  VM_FAULT_HWPOISON,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
  VM_IO,
  VM_PFNMAP,
  VM_READ,
  VM_WRITE,
  type VmArea,
} from './vma.js';

/** What an access ends in that cannot be made. */
export class FaultSignal extends Error {
  readonly signal: 'SIGSEGV' | 'SIGBUS';
  readonly address: number;

  constructor(signal: 'SIGSEGV' | 'SIGBUS', address: number) {
    super(`${signal} at 0x${address.toString(16)}`);
    this.signal = signal;
    this.address = address;
  }
}

/** The signal for a fault that has failed, if it has. @throws ENOMEM */
function signalOf(fault: number): FaultSignal['signal'] | undefined {
  if ((fault & VM_FAULT_OOM) !== 0) throw errno('ENOMEM', 'a page fault found no memory');
  if ((fault & VM_FAULT_SIGSEGV) !== 0) return 'SIGSEGV';
  return (fault & (VM_FAULT_SIGBUS | VM_FAULT_HWPOISON)) !== 0 ? 'SIGBUS' : undefined;
}

/** The bytes of the page of an address, where the page tables allow the access as it is, from the address to the end of the page. */
function present(mm: MmStruct, address: number, write: boolean): Buffer | undefined {
  const vpn = Math.floor(address / PAGE_SIZE);
  const pmd = mm.pgd.pmd(vpn);
  if (pmd !== undefined) {
    if (write && !pmd.write) return undefined;
    pmd.dirty ||= write;
    const at = (vpn % PMD_PAGES) * PAGE_SIZE;
    return pmd.bytes.subarray(at + (address % PAGE_SIZE), at + PAGE_SIZE);
  }
  const pte = mm.pgd.pte(vpn);
  if (pte?.bytes === undefined || pte.poisoned || (write && !pte.write)) return undefined;
  // As the processor does: the accessed and dirty bits.
  pte.dirty ||= write;
  if (pte.folio !== undefined) pte.folio.referenced = true;
  return pte.bytes.subarray(address % PAGE_SIZE);
}

/**
 * Do `use` with the bytes at an address, once they can be accessed; page faults come before it (do_user_addr_fault). Takes mmap_lock shared, and drops it
 * where a fault is to wait for a page.
 * @param use gets the bytes from the address to the end of its page; must not wait
 * @throws FaultSignal where the access is not allowed or the page cannot be had; ENOMEM
 */
export async function with_user_page<T>(
  task: Task,
  mm: MmStruct,
  address: number,
  write: boolean,
  use: (bytes: Buffer) => T,
): Promise<T> {
  let flags = FAULT_FLAG_ALLOW_RETRY | (write ? FAULT_FLAG_WRITE : 0);
  for (;;) {
    let wait: ((task: Task) => Awaitable<void>) | undefined;
    {
      using _mmap = await mm.mmap_lock.read(task);
      const vma = mm.vma_lookup(address);
      if (vma === undefined || (vma.vm_flags & (write ? VM_WRITE : VM_READ)) === 0)
        throw new FaultSignal('SIGSEGV', address);
      const bytes = present(mm, address, write);
      if (bytes !== undefined) return use(bytes);
      if (!mm.mmu) throw new FaultSignal('SIGBUS', address);
      const faulted = await handle_mm_fault(task, vma, address, flags);
      const signal = signalOf(faulted.fault);
      if (signal !== undefined) throw new FaultSignal(signal, address);
      const again = present(mm, address, write);
      if (again !== undefined && faulted.wait === undefined) return use(again);
      if ((faulted.fault & VM_FAULT_RETRY) !== 0) flags |= FAULT_FLAG_TRIED;
      wait = faulted.wait;
      // The access itself, before who made it may have to wait for writeback.
      if (again !== undefined && wait !== undefined) {
        const result = use(again);
        _mmap.release();
        await wait(task);
        return result;
      }
    }
    await wait?.(task);
  }
}

/** A load: copy what is at an address of a process. @throws FaultSignal ENOMEM */
export async function load(task: Task, mm: MmStruct, address: number, into: Buffer): Promise<void> {
  for (let done = 0; done < into.length; ) {
    done += await with_user_page(task, mm, address + done, false, (bytes) => bytes.copy(into, done));
  }
}

/** A store: copy to an address of a process. @throws FaultSignal ENOMEM, with what lies before the bad page stored */
export async function store(task: Task, mm: MmStruct, address: number, from: Buffer): Promise<void> {
  for (let done = 0; done < from.length; ) {
    done += await with_user_page(task, mm, address + done, true, (bytes) => from.copy(bytes, 0, done));
  }
}

/** As `load`, for a system call that reads its argument (copy_from_user). @throws EFAULT ENOMEM */
export function copy_from_user(task: Task, mm: MmStruct, address: number, into: Buffer): Promise<void> {
  return load(task, mm, address, into).catch(asFault);
}

/** As `store`, for a system call that writes its result (copy_to_user). @throws EFAULT ENOMEM */
export function copy_to_user(task: Task, mm: MmStruct, address: number, from: Buffer): Promise<void> {
  return store(task, mm, address, from).catch(asFault);
}

function asFault(error: unknown): never {
  throw error instanceof FaultSignal ? errno('EFAULT') : error;
}

/**
 * Read or write the memory of another process, as ptrace and /proc/pid/mem do (access_process_vm): where pages cannot be pinned, because they are a device's, its
 * access operation does it. Takes mmap_lock shared.
 * @returns bytes done; fewer where the rest cannot be accessed
 */
export async function access_process_vm(
  task: Task,
  mm: MmStruct,
  address: number,
  buffer: Buffer,
  write: boolean,
): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const part = buffer.subarray(done, done + PAGE_SIZE - ((address + done) % PAGE_SIZE));
    const n =
      (await special(task, mm, address + done, part, write)) ?? (await ordinary(task, mm, address + done, part, write));
    if (n <= 0) break;
    done += n;
  }
  return done;
}

async function ordinary(task: Task, mm: MmStruct, address: number, part: Buffer, write: boolean): Promise<number> {
  try {
    await (write ? store(task, mm, address, part) : load(task, mm, address, part));
    return part.length;
  } catch (error) {
    if (error instanceof FaultSignal) return 0;
    throw error;
  }
}

/** Through the area's access, where its pages are a device's; undefined where they are not. */
async function special(
  task: Task,
  mm: MmStruct,
  address: number,
  part: Buffer,
  write: boolean,
): Promise<number | undefined> {
  using _mmap = await mm.mmap_lock.read(task);
  const vma: VmArea | undefined = mm.vma_lookup(address);
  if (vma === undefined || (vma.vm_flags & (VM_IO | VM_PFNMAP)) === 0) return undefined;
  const access = vma.vm_ops?.access;
  if (access === undefined) return 0;
  const within = part.subarray(0, Math.min(part.length, vma.vm_end - address));
  return await call(task, rows.access, { mm: mm.mmap_lock }, () => access(task, vma, address, within, write));
}
