// Whether a directory can be mounted on, found out beforehand, so that the user reads a plain sentence instead of an errno.

import { accessSync, constants, readdirSync, realpathSync, type Stats, statfsSync, statSync } from 'node:fs';
import { codeOf, MountError, type MountOptions } from './mount-options.js';
import { isFuse, mountAt, sourceOf } from './mountinfo.js';

/**
 * Checks a mount point.
 * @returns its absolute path without symbolic links
 * @throws MountError missing (ENOENT), not a directory (ENOTDIR), not empty (ENOTEMPTY), in use (EBUSY), left over (ENOTCONN)
 */
export function checkMountpoint(given: string, options: MountOptions): string {
  let stats: Stats;
  let mountpoint: string;
  try {
    stats = statSync(given);
    mountpoint = realpathSync(given);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') throw new MountError(code, `mount point ${given} does not exist: mkdir ${given}`);
    if (code === 'ENOTCONN' || code === 'ECONNABORTED') throw dead(given);
    if (code === 'ENOTDIR')
      throw new MountError(code, `mount point ${given} does not exist: a part of its path is not a directory`);
    throw new MountError(code, `mount point ${given} cannot be used: ${code}`);
  }
  if (!stats.isDirectory()) throw new MountError('ENOTDIR', `mount point ${given} is not a directory`);
  const mounted = mountAt(mountpoint);
  if (mounted !== undefined && isFuse(mounted)) {
    // The kernel may know the directory's attributes still; how much room there is it always asks.
    if (isDead(mountpoint)) throw dead(given);
    throw new MountError('EBUSY', `${sourceOf(mounted)} is already mounted on ${given}: umount ${given} first`);
  }
  if (options.nonempty !== true && notEmpty(mountpoint)) {
    throw new MountError(
      'ENOTEMPTY',
      `mount point ${given} is not empty: choose an empty directory, or mount with -o nonempty`,
    );
  }
  return mountpoint;
}

function dead(given: string): MountError {
  return new MountError(
    'ENOTCONN',
    `a dead mount was left on ${given}: fusermount3 -u ${given} (as root: umount ${given})`,
  );
}

function isDead(mountpoint: string): boolean {
  try {
    statfsSync(mountpoint);
    return false;
  } catch (error) {
    const code = codeOf(error);
    return code === 'ENOTCONN' || code === 'ECONNABORTED';
  }
}

function notEmpty(directory: string): boolean {
  try {
    return readdirSync(directory).length > 0;
  } catch {
    return false; // may not be listed; mounting decides
  }
}

/** Checks that this process may open /dev/fuse. @throws MountError */
export function checkDevice(): void {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    throw deviceError(codeOf(error));
  }
}

/** What a failed open of /dev/fuse means. */
export function deviceError(code: string): MountError {
  if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO') {
    return new MountError(
      code,
      '/dev/fuse does not exist: modprobe fuse (in a container: run it with --device /dev/fuse)',
    );
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new MountError(code, '/dev/fuse may not be opened by this user: as root, chmod 666 /dev/fuse');
  }
  return new MountError(code, `/dev/fuse cannot be opened: ${code}`);
}
