/** The memory and the system call of who calls, for what the kernel does not hand over. */
import { open, readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { errno } from '../../sched/errno.js';

/**
 * Bytes from the memory of a thread that waits for the answer to its request. Without holding up the loop: what is read may be a mapping of a file of this very mount.
 * @param pid as the request says it @throws EFAULT where they cannot be read, for lack of privileges too
 */
export async function callersBytes(pid: number, address: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  try {
    await using memory = await open(`/proc/${pid}/mem`);
    const { bytesRead } = await memory.read(bytes, 0, length, address);
    if (bytesRead === length) return bytes;
  } catch {
    // Gone, of another user, or no such address.
  }
  throw errno('EFAULT', `${length} bytes at ${address} of process ${pid} cannot be read`);
}

/** How often, a millisecond apart, it is looked whether a thread has gone to sleep: it may not have run since it sent its request. */
const LOOKS = 50;

/**
 * The system call that a thread is in which waits for the answer to its request: its number and, in hexadecimal, its arguments.
 * @param pid as the request says it @returns nothing where that cannot be seen: for lack of privileges, or of one of the kernel's own
 */
async function systemCallOf(pid: number): Promise<readonly string[]> {
  for (let look = 0; pid !== 0 && look < LOOKS; look++) {
    const said = await readFile(`/proc/${pid}/syscall`, 'latin1').catch(() => '');
    if (said.startsWith('running')) await pause(1);
    else return /^\d/.test(said) ? said.split(' ') : [];
  }
  return [];
}

/** chown, fchown, lchown and fchownat, and those that take 32 bits: of x86-64, of i386 and of what has the generic table. */
const CHOWN: ReadonlySet<string> = new Set(
  process.arch === 'x64' ? ['92', '93', '94', '260', '182', '95', '16', '212', '207', '198', '298'] : ['54', '55'],
);

/**
 * Whether a thread that waits for the answer to its request is in another system call than chown(2).
 * @param pid as the request says it @returns false also where that cannot be seen
 */
export async function callsOtherThanChown(pid: number): Promise<boolean> {
  const [number] = await systemCallOf(pid);
  return number !== undefined && !CHOWN.has(number);
}

/** F_OFD_SETLKW (include/uapi/asm-generic/fcntl.h). */
const F_OFD_SETLKW = 38;

/**
 * Whether a thread that waits for a record lock wants it for the open file (F_OFD_SETLKW), and not for its process.
 * @param pid as the request says it @returns false also where that cannot be seen
 */
export async function locksForOpenFile(pid: number): Promise<boolean> {
  const [, , command] = await systemCallOf(pid);
  return Number(command) === F_OFD_SETLKW;
}
