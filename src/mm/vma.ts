/** Memory areas of a process and what their files do for them: vm_area_struct, vm_operations_struct, vm_fault (include/linux/mm.h). */
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace, MmFile } from './address-space.js';
import type { Folio } from './folio.js';
import type { MmStruct } from './mm-struct.js';

export const VM_READ = 0x1;
export const VM_WRITE = 0x2;
export const VM_EXEC = 0x4;
export const VM_SHARED = 0x8;
/** What mprotect may turn on. */
export const VM_MAYREAD = 0x10;
export const VM_MAYWRITE = 0x20;
export const VM_MAYEXEC = 0x40;
export const VM_MAYSHARE = 0x80;
/** Bare frames without a struct page: a device's memory. */
export const VM_PFNMAP = 0x400;
export const VM_LOCKED = 0x2000;
/** Registers or memory of a device; reading it may have effects. */
export const VM_IO = 0x4000;
export const VM_SEQ_READ = 0x8000;
export const VM_RAND_READ = 0x10000;
export const VM_DONTCOPY = 0x20000;
export const VM_DONTEXPAND = 0x40000;
/** Frames with and without a struct page. */
export const VM_MIXEDMAP = 0x10000000;
export const VM_HUGEPAGE = 0x20000000;

/** What a fault handler answers: a set of these bits (enum vm_fault_reason). */
export const VM_FAULT_OOM = 0x1;
export const VM_FAULT_SIGBUS = 0x2;
export const VM_FAULT_MAJOR = 0x4;
/** The page is broken: SIGBUS, and nobody may touch it. */
export const VM_FAULT_HWPOISON = 0x10;
export const VM_FAULT_SIGSEGV = 0x40;
/** The handler has set the entry itself, or wants the access to be tried again. */
export const VM_FAULT_NOPAGE = 0x100;
/** vmf.page is locked; who called unlocks it. */
export const VM_FAULT_LOCKED = 0x200;
/** The caller is to drop mmap_lock, wait for vmf.wait, and try again. */
export const VM_FAULT_RETRY = 0x400;
/** No huge page here: take small ones. */
export const VM_FAULT_FALLBACK = 0x800;
export const VM_FAULT_ERROR = VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV | VM_FAULT_HWPOISON | VM_FAULT_FALLBACK;

export const FAULT_FLAG_WRITE = 0x1;
/** The handler may answer VM_FAULT_RETRY. */
export const FAULT_FLAG_ALLOW_RETRY = 0x4;
/** It has been tried once. */
export const FAULT_FLAG_TRIED = 0x20;

/** What an area asks of the file that it maps; the VFS wraps its open files in it. */
export interface VmFile extends MmFile {
  /** One more user of the open file: an area was split or copied (get_file). */
  get_file(): void;
  /** One user less (fput). */
  fput(task: Task): Awaitable<void>;
  /** The file's own mmap, called through its row: sets vma.vm_ops (call_mmap). @throws ENODEV */
  mmap(task: Task, vma: VmArea): Awaitable<void>;
  /** Where the file wants to be mapped, called through its row; undefined where it does not care. @throws what the operation throws */
  get_unmapped_area?(
    task: Task,
    mm: MmStruct,
    addr: number,
    length: number,
    pgoff: number,
    flags: number,
  ): Awaitable<number> | undefined;
  /** NOMMU_MAP_* of nommu.ts: how the file can be mapped without translation of addresses. @throws ENODEV EINVAL for what cannot be mapped */
  mmap_capabilities?(task: Task): Awaitable<number>;
  /** Fill `into` with the bytes from `pos` on, as far as there are any (kernel_read). */
  kernel_read?(task: Task, pos: number, into: Buffer): Awaitable<void>;
  /** Write bytes `start` to `end`, inclusive, for msync (vfs_fsync_range). */
  fsync(task: Task, start: number, end: number): Awaitable<void>;
}

/** One fault being handled (struct vm_fault). */
export interface VmFault {
  readonly vma: VmArea;
  /** The page-aligned address. */
  readonly address: number;
  /** The page of the file. */
  readonly pgoff: number;
  /** FAULT_FLAG_*. */
  flags: number;
  /** The handler's page, with a reference; for page_mkwrite the page that is to become writable. */
  page: Folio | undefined;
  /** With VM_FAULT_RETRY: what to wait for once mmap_lock was dropped. */
  wait: ((task: Task) => Awaitable<void>) | undefined;
}

/** Locks: the section vm_operations_struct. Each answers VM_FAULT_* bits unless it says otherwise. */
export interface vm_operations_struct {
  /** The area has come into being by a split, a copy or a move; not called for the one that mmap made. */
  open?(task: Task, vma: VmArea): Awaitable<void>;
  close?(task: Task, vma: VmArea): Awaitable<void>;
  fault?(task: Task, vmf: VmFault): Awaitable<number>;
  /** @param order of the entry: 9 for 2 MiB */
  huge_fault?(task: Task, vmf: VmFault, order: number): Awaitable<number>;
  /** Map what is at hand of pages `start` to `end`, inclusive, of the file. May not block. */
  map_pages?(task: Task, vmf: VmFault, start: number, end: number): number;
  page_mkwrite?(task: Task, vma: VmArea, vmf: VmFault): Awaitable<number>;
  pfn_mkwrite?(task: Task, vma: VmArea, vmf: VmFault): Awaitable<number>;
  /** Read or write the bytes at an address for a debugger. @returns bytes done */
  access?(task: Task, vma: VmArea, address: number, buffer: Buffer, write: boolean): Awaitable<number>;
}

/** struct vm_area_struct. */
export class VmArea {
  readonly vm_mm: MmStruct;
  /** First byte, and the first behind it: page-aligned addresses. */
  vm_start: number;
  vm_end: number;
  /** VM_*. */
  vm_flags: number;
  /** The page of the file at vm_start. */
  vm_pgoff: number;
  vm_file: VmFile | undefined;
  vm_ops: vm_operations_struct | undefined;
  vm_private_data: object | undefined;

  constructor(
    mm: MmStruct,
    start: number,
    end: number,
    flags: number,
    pgoff: number,
    file: VmFile | undefined,
    ops?: vm_operations_struct,
  ) {
    this.vm_mm = mm;
    this.vm_start = start;
    this.vm_end = end;
    this.vm_flags = flags;
    this.vm_pgoff = pgoff;
    this.vm_file = file;
    this.vm_ops = ops;
  }

  get mapping(): AddressSpace | undefined {
    return this.vm_file?.f_mapping;
  }

  get shared(): boolean {
    return (this.vm_flags & VM_SHARED) !== 0;
  }

  get writable(): boolean {
    return (this.vm_flags & VM_WRITE) !== 0;
  }
}
