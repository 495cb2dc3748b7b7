// A mount point of the form /dev/fd/N: whoever started this process has mounted already (as root, say) and passes the descriptor.

import { fstatSync } from 'node:fs';
import { F_SETFD } from '../uapi/fcntl.js';
import { fcntl } from './libc.js';
import { MountError } from './mount-options.js';

const FD_CLOEXEC = 1;
/** /dev/fuse: misc device 10:229 */
const FUSE_RDEV = (10 << 8) | 229;

/** The descriptor's number in /dev/fd/N, undefined for an ordinary path. */
export function passedDescriptor(mountpoint: string): number | undefined {
  const match = /^\/dev\/fd\/(\d+)$/.exec(mountpoint);
  return match === null ? undefined : Number(match[1]);
}

/**
 * Takes over a descriptor that was passed.
 * @throws MountError EBADF when it is not open, ENODEV when it is no /dev/fuse
 */
export function adoptDescriptor(fd: number): number {
  let rdev: number;
  try {
    rdev = fstatSync(fd).rdev;
  } catch {
    throw new MountError(
      'EBADF',
      `descriptor ${fd} is not open: /dev/fd/${fd} names a /dev/fuse that the caller mounted and passes`,
    );
  }
  if (rdev !== FUSE_RDEV) throw new MountError('ENODEV', `descriptor ${fd} is not a /dev/fuse: mount it and pass it`);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
}
