// Mounting as root: mount(2) with the descriptor's number among the options, without fusermount3.

import { closeSync, constants as fsConstants, openSync, statSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import {
  MS_DIRSYNC,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_RDONLY,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
} from '../uapi/mount.js';
import { errno, mount } from './libc.js';
import { attachLoop } from './loop-device.js';
import { deviceError } from './mount-check.js';
import { codeOf, MountError, type MountOptions } from './mount-options.js';

/** Bytes of a block, as far as the kernel asks. */
const BLOCK_SIZE = 4096;

/** The flags of mount(2). Without CAP_SYS_ADMIN's word for it, nothing on the mount is trusted: nosuid and nodev. */
export function mountFlags(options: MountOptions): number {
  return (
    (options.readOnly === true ? MS_RDONLY : 0) |
    (options.suid === true ? 0 : MS_NOSUID) |
    (options.dev === true ? 0 : MS_NODEV) |
    (options.noexec === true ? MS_NOEXEC : 0) |
    (options.sync === true ? MS_SYNCHRONOUS : 0) |
    (options.dirsync === true ? MS_DIRSYNC : 0) |
    (options.nosymfollow === true ? MS_NOSYMFOLLOW : 0) |
    (options.noatime === true ? MS_NOATIME : 0) |
    (options.nodiratime === true ? MS_NODIRATIME : 0) |
    (options.strictatime === true ? MS_STRICTATIME : 0)
  );
}

function typeOf(base: string, options: MountOptions): string {
  return options.subtype === undefined ? base : `${base}.${options.subtype}`;
}

/** Whether a path names a block device; false where there is nothing. */
export function isBlockDevice(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isBlockDevice() === true;
}

/** Whether somebody has a block device for himself alone. */
function isTaken(disk: string): boolean {
  try {
    closeSync(openSync(disk, fsConstants.O_RDONLY | fsConstants.O_EXCL));
    return false;
  } catch (error) {
    return codeOf(error) === 'EBUSY';
  }
}

/**
 * Mounts an image as a disk (fuseblk), a file by a loop device: only to such a mount does the kernel bring sync(2), and its umount(2) waits until
 * the server is done. A disk that is mounted as itself is found by its name, and the kernel keeps others away from it.
 * @param data the options of any fuse mount
 * @returns whether it is mounted; where it cannot be, a plain mount may do
 * @throws MountError where another has the disk
 */
function mountBlock(mountpoint: string, options: MountOptions, data: readonly string[]): boolean {
  if (options.image === undefined) return false;
  const all = [...data, `blksize=${BLOCK_SIZE}`].join(',');
  const mounts = (disk: string): boolean =>
    mount(disk, mountpoint, typeOf('fuseblk', options), mountFlags(options), all) === 0;
  if (isBlockDevice(options.image)) {
    if (mounts(options.image)) return true;
    if (isTaken(options.image)) throw new MountError('EBUSY', `${options.image} is in use: somebody has just taken it`);
    // A kernel that lets nobody write to a mounted disk refuses it, since the server has it open.
  }
  const loop = attachLoop(options.image, options.readOnly === true, BLOCK_SIZE);
  if (loop === undefined) return false;
  try {
    return mounts(loop.path);
  } finally {
    loop.close();
  }
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
  const data = [
    `fd=${fd}`,
    'rootmode=40000',
    `user_id=${process.getuid?.() ?? 0}`,
    `group_id=${process.getgid?.() ?? 0}`,
  ];
  if (options.allowOther === true) data.push('allow_other');
  if (options.defaultPermissions === true) data.push('default_permissions');
  if (options.maxRead !== undefined) data.push(`max_read=${options.maxRead}`);
  try {
    if (mountBlock(mountpoint, options, data)) return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const source = options.fsname ?? options.subtype ?? 'fuse';
  if (mount(source, mountpoint, typeOf('fuse', options), mountFlags(options), data.join(',')) === 0) return fd;
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
