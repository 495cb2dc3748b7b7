/** FS_IOC_SHUTDOWN: the filesystem stops at once, as a crash would stop it, and can be unmounted in peace (ext4_force_shutdown). */
import { freeze_super, thaw_super } from '../fs/super-freeze.js';
import { SB_FREEZE_COMPLETE } from '../fs/super-writers.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { LatchInfo } from './info.js';

/** Everything is written first, as for a freeze. */
export const EXT4_GOING_FLAGS_DEFAULT = 0;
/** What is in transactions is committed; pages are lost. */
export const EXT4_GOING_FLAGS_LOGFLUSH = 1;
/** Nothing more is written. */
export const EXT4_GOING_FLAGS_NOLOGFLUSH = 2;

/**
 * Let nothing in or out of a mounted filesystem any more: operations fail with EIO until it is unmounted, and the next mount recovers what the journal has.
 * What is under way ends, and what it changes is in no transaction that commits, or whole. On one that was shut down nothing happens.
 * @param flags EXT4_GOING_FLAGS_*
 * @throws EPERM without CAP_SYS_ADMIN; EINVAL for other flags; EBUSY while somebody is freezing it; EIO where not everything could be written: with DEFAULT
 * it goes on then
 */
export async function latch_force_shutdown(task: Task, info: LatchInfo, flags: number): Promise<void> {
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  if (flags > EXT4_GOING_FLAGS_NOLOGFLUSH) throw errno('EINVAL');
  if (info.forced_shutdown) return;
  const { sb, journal } = info;
  if (flags === EXT4_GOING_FLAGS_DEFAULT) {
    // Where it is frozen, everything is on the device.
    const frozen = sb.s_writers.frozen === SB_FREEZE_COMPLETE;
    if (!frozen) await freeze_super(task, sb);
    stop(info);
    if (!frozen) await thaw_super(task, sb);
    return;
  }
  stop(info);
  try {
    if (flags === EXT4_GOING_FLAGS_LOGFLUSH && journal.error === undefined) await journal.force_commit(task);
  } finally {
    journal.abort(errno('ESHUTDOWN'));
  }
}

function stop(info: LatchInfo): void {
  info.forced_shutdown = true;
  info.sb.machine.printk?.(`${info.sb.s_id}: was shut down: unmount it, and mount it anew`);
}
