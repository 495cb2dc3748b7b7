/** Which signals those are that a caller has pending: INTERRUPT tells of the first one only, and not which it is. */
import { readFileSync } from 'node:fs';

/** SIGKILL, in the masks of /proc: it is pending for every thread of a process that any fatal signal is about to end. */
const SIGKILL = 1n << 8n;

/**
 * Whether a thread that waits for the answer to its request is being killed (fatal_signal_pending). @param pid of the thread, as the request says it; 0 is one of
 * another pid namespace, of which nothing is known
 */
export function fatal_signal_pending(pid: number): boolean {
  if (pid === 0) return false;
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    // It cannot be seen. Where it is gone, there is nobody to be told.
    return false;
  }
  return [...status.matchAll(/^(?:Sig|Shd)Pnd:\s*([0-9a-f]+)$/gm)].some(
    ([, mask]) => (BigInt(`0x${mask ?? '0'}`) & SIGKILL) !== 0n,
  );
}
