/** `latchfs umount MOUNTPOINT`: also clears what a daemon that died has left. */
import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { unmountFuse } from '../fuse/mount.js';
import { health, isFuse, mountAt } from '../fuse/mountinfo.js';
import { CliError } from './error.js';

/** Milliseconds that a mount has to answer before it counts as stuck. */
const PATIENCE = 2000;

/** The mount point's real path. It is found without asking what is mounted there, which may be dead, or never answer. */
function pathOf(given: string): string {
  const path = resolve(given);
  try {
    const real = join(realpathSync(dirname(path)), basename(path));
    return mountAt(real) === undefined ? realpathSync(path) : real;
  } catch {
    return path;
  }
}

/**
 * Unmount. A dead mount is detached; a live one is unmounted when nobody uses it.
 * @throws CliError, MountError
 */
export async function umount(given: string, options: { readonly lazy: boolean }): Promise<void> {
  const mountpoint = pathOf(given);
  const mount = mountAt(mountpoint);
  if (mount === undefined) throw new CliError(`${given} is not mounted`);
  if (!isFuse(mount))
    throw new CliError(`${given} is a mount of type ${mount.fstype}, not one of latchfs: use umount(8)`);
  const state = await health(mountpoint, PATIENCE);
  await unmountFuse(mountpoint, options.lazy || state !== 'alive');
}
