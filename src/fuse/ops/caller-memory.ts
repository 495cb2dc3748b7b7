/** The memory of who calls, for what the kernel does not hand over. */
import { open } from 'node:fs/promises';
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
