/** The control directory of a mount: what its files are made of. */
import { realpathSync } from 'node:fs';
import { attachControl } from '../control/automount.js';
import { controlFiles } from '../control/files.js';
import type { SuperBlock } from '../fs/super-block.js';
import { LatchInfo } from '../latch/info.js';
import { latch_force_shutdown } from '../latch/shutdown.js';
import { task_end } from '../locking/context.js';
import type { Lockdep } from '../locking/lockdep.js';
import type { Logger } from '../report/log.js';
import type { ViolationHistory } from '../report/violations.js';
import { errno } from '../sched/errno.js';
import { printContract } from './contract.js';

function contractText(): string {
  let text = '';
  printContract({
    write: (part) => {
      text += part;
    },
  });
  return text;
}

/** Give a mounted filesystem its `.latchfs`, for who mounts it. @returns what takes it away again */
export function addControl(
  sb: SuperBlock,
  validator: Lockdep,
  mountpoint: string,
  violations: ViolationHistory,
  log: Pick<Logger, 'warn'>,
): () => Promise<void> {
  const files = controlFiles({
    sb,
    validator,
    violations,
    mountpoint: mountpoint.startsWith('/dev/fd/') ? mountpoint : realpathSync(mountpoint),
    contract: contractText,
    shutdown: (task, flags) => {
      const { s_fs_info: info } = sb;
      if (!(info instanceof LatchInfo)) throw errno('EOPNOTSUPP', `${sb.s_type} cannot be shut down`);
      return latch_force_shutdown(task, info, flags);
    },
    refused: (message) => log.warn(message),
  });
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const task = sb.newTask({ comm: 'mount' });
  const remove = attachControl(task, sb, files, owner);
  task_end(task);
  return async () => {
    const ending = sb.newTask({ comm: 'umount' });
    await remove(ending);
    task_end(ending);
  };
}
