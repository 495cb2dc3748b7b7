/** System calls on memory: mapping files, what a process does with its memory, and swapping (mm/mmap.c, mm/msync.c, mm/swapfile.c). */

import * as gup from '../../mm/gup.js';
import type { MmStruct } from '../../mm/mm-struct.js';
import * as maps from '../../mm/mmap.js';
import { mremap as do_mremap } from '../../mm/mremap.js';
import * as ranges from '../../mm/msync.js';
import * as nommu from '../../mm/nommu.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { MAP_ANONYMOUS } from '../../uapi/mman.js';
import { vfs_mmap, vfs_swapoff, vfs_swapon } from '../mmap.js';
import type { Process } from './process.js';
import { mmOf } from './process-mm.js';

/** For the calls that there are only where addresses are translated. @throws ENOSYS */
function translated(process: Process): MmStruct {
  if (!process.mmu) throw errno('ENOSYS');
  return mmOf(process);
}

/** mmap(2); `fd` is -1 for fresh memory. @returns the address. @throws EBADF and what vfs_mmap throws */
export function mmap(
  task: Task,
  p: Process,
  addr: number,
  length: number,
  prot: number,
  flags: number,
  fd: number,
  offset = 0,
): Promise<number> {
  const mm = mmOf(p);
  if ((flags & MAP_ANONYMOUS) !== 0) return nommu.do_mmap(task, mm, { addr, length, prot, flags });
  return vfs_mmap(task, mm, p.files.get(fd), addr, length, prot, flags, offset);
}

/** munmap(2). @throws EINVAL ENOMEM */
export function munmap(task: Task, p: Process, addr: number, length: number): Promise<void> {
  const mm = mmOf(p);
  return (mm.mmu ? maps.do_munmap : nommu.nommu_munmap)(task, mm, addr, length);
}

/** mprotect(2). @throws EACCES EINVAL ENOMEM */
export function mprotect(task: Task, p: Process, addr: number, length: number, prot: number): Promise<void> {
  return maps.mprotect(task, translated(p), addr, length, prot);
}

/** mremap(2) with MREMAP_MAYMOVE. @returns the address. @throws EFAULT EINVAL ENOMEM */
export function mremap(task: Task, p: Process, addr: number, oldLength: number, newLength: number): Promise<number> {
  const mm = mmOf(p);
  return (mm.mmu ? do_mremap : nommu.nommu_mremap)(task, mm, addr, oldLength, newLength);
}

/** msync(2). @throws EBUSY EINVAL ENOMEM EIO */
export function msync(task: Task, p: Process, addr: number, length: number, flags: number): Promise<void> {
  return ranges.msync(task, translated(p), addr, length, flags);
}

/** madvise(2). @throws EINVAL ENOMEM */
export function madvise(task: Task, p: Process, addr: number, length: number, advice: number): Promise<void> {
  return ranges.madvise(task, translated(p), addr, length, advice);
}

/** What the program itself does: read its memory. @throws FaultSignal, the signal that it gets */
export async function load(task: Task, p: Process, addr: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  await gup.load(task, mmOf(p), addr, bytes);
  return bytes;
}

/** What the program itself does: write its memory. @throws FaultSignal, the signal that it gets */
export function store(task: Task, p: Process, addr: number, bytes: Buffer): Promise<void> {
  return gup.store(task, mmOf(p), addr, bytes);
}

/** Read another process's memory, as ptrace(2) and /proc/pid/mem do. @returns what could be read. @throws EPERM */
export async function peek(task: Task, p: Process, target: Process, addr: number, length: number): Promise<Buffer> {
  checkTrace(p, target);
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, await gup.access_process_vm(task, mmOf(target), addr, bytes, false));
}

/** Write another process's memory. @returns how many bytes. @throws EPERM */
export async function poke(task: Task, p: Process, target: Process, addr: number, bytes: Buffer): Promise<number> {
  checkTrace(p, target);
  return await gup.access_process_vm(task, mmOf(target), addr, bytes, true);
}

/** ptrace_may_access, as far as it asks for the user. */
function checkTrace(p: Process, target: Process): void {
  if (p.cred.uid !== target.cred.uid && !p.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
}

/** swapon(2) of an open file. @throws EPERM EBADF EBUSY EINVAL */
export async function swapon(task: Task, p: Process, fd: number): Promise<void> {
  await vfs_swapon(task, p.files.get(fd));
}

/** swapoff(2) of an open file. @throws EPERM EBADF EINVAL ENOMEM EIO */
export function swapoff(task: Task, p: Process, fd: number): Promise<void> {
  return vfs_swapoff(task, p.files.get(fd).f_inode);
}
