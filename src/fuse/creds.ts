/** Who calls: a request carries uid, gid and pid; groups are asked of /proc only when a check depends on them. */
import { readFileSync } from 'node:fs';
import { type Cred, userCred } from '../sched/task.js';

/** The supplementary groups of a thread; none where it has gone or cannot be seen. */
function groupsOf(pid: number): readonly number[] {
  if (pid === 0) return [];
  try {
    const match = /^Groups:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return (match?.[1] ?? '').split(/\s+/).filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Who makes a request. Its supplementary groups are read from /proc when they are first asked for. */
export function credOf(uid: number, gid: number, pid: number): Cred {
  let known: readonly number[] | undefined;
  return userCred(uid, gid, () => {
    known ??= groupsOf(pid);
    return known;
  });
}
