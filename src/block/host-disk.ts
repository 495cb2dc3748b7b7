/** What the host's kernel says of a block device: whether it may be written, and which file is behind a loop device. */
import { fstatSync, readFileSync } from 'node:fs';
import { isReadOnlyBlockDevice } from './libc.js';

/** Linux's numbers of a device, in the form of /sys/dev/block. */
function numberOf(rdev: number): string {
  const device = BigInt(rdev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn & 0xffffffffn);
  return `${major}:${minor}`;
}

/** Whether an open file is a block device that refuses writes (BLKROGET), though it may have been opened for them. */
export function isWriteProtected(fd: number): boolean {
  return fstatSync(fd).isBlockDevice() && isReadOnlyBlockDevice(fd);
}

/** The path of the file behind an open loop device; undefined where it is none, or the file has no name any more. */
export function fileBehind(fd: number): string | undefined {
  const stat = fstatSync(fd);
  if (!stat.isBlockDevice()) return undefined;
  try {
    return readFileSync(`/sys/dev/block/${numberOf(stat.rdev)}/loop/backing_file`, 'utf8').replace(/\n$/, '');
  } catch {
    return undefined;
  }
}
