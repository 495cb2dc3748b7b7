// Mounting as root: mount(2) with the descriptor's number among the options, without fusermount3.

import { closeSync, constants as fsConstants, openSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { errno, mount } from './libc.js';
import { deviceError } from './mount-check.js';
import { codeOf, MountError, type MountOptions } from './mount-options.js';

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_SYNCHRONOUS = 16;
const MS_DIRSYNC = 128;
const MS_NOATIME = 1024;
const MS_NODIRATIME = 2048;

/** The flags of mount(2). Without CAP_SYS_ADMIN's word for it, nothing on the mount is trusted: nosuid and nodev. */
export function mountFlags(options: MountOptions): number {
  return (
    (options.readOnly === true ? MS_RDONLY : 0) |
    (options.suid === true ? 0 : MS_NOSUID) |
    (options.dev === true ? 0 : MS_NODEV) |
    (options.noexec === true ? MS_NOEXEC : 0) |
    (options.sync === true ? MS_SYNCHRONOUS : 0) |
    (options.dirsync === true ? MS_DIRSYNC : 0) |
    (options.noatime === true ? MS_NOATIME : 0) |
    (options.nodiratime === true ? MS_NODIRATIME : 0)
  );
}

/**
 * Opens /dev/fuse and mounts it.
 * @param mountpoint absolute, a directory
 * @returns the descriptor
 * @throws MountError
 */
export function mountDirect(mountpoint: string, options: MountOptions): number {
  let fd: number;
  try {
    fd = openSync('/dev/fuse', fsConstants.O_RDWR | fsConstants.O_NONBLOCK);
  } catch (error) {
    throw deviceError(codeOf(error));
  }
  const type = options.subtype === undefined ? 'fuse' : `fuse.${options.subtype}`;
  const data = [
    `fd=${fd}`,
    'rootmode=40000',
    `user_id=${process.getuid?.() ?? 0}`,
    `group_id=${process.getgid?.() ?? 0}`,
  ];
  if (options.allowOther === true) data.push('allow_other');
  if (options.defaultPermissions === true) data.push('default_permissions');
  if (options.maxRead !== undefined) data.push(`max_read=${options.maxRead}`);
  if (mount(options.fsname ?? options.subtype ?? 'fuse', mountpoint, type, mountFlags(options), data.join(',')) === 0)
    return fd;
  const error = errno();
  closeSync(fd);
  const code = getSystemErrorName(-error);
  if (code === 'EPERM' || code === 'EACCES') {
    throw new MountError(
      code,
      `mounting on ${mountpoint} is not permitted: it takes CAP_SYS_ADMIN (in a container: run it with --cap-add SYS_ADMIN)`,
    );
  }
  if (code === 'ENODEV') throw new MountError(code, 'the kernel has no fuse: modprobe fuse');
  throw new MountError(code, `mounting on ${mountpoint} failed: ${code}`);
}
