// Mounting as an ordinary user: the set-user-id program fusermount3 opens /dev/fuse, mounts, and passes the descriptor back over a
// socket whose number it finds in _FUSE_COMMFD.

import { spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { addressOf, errno, recvmsg, socketpair } from './libc.js';
import { checkDevice } from './mount-check.js';
import { codeOf, MountError, type MountOptions } from './mount-options.js';
import { LITTLE_ENDIAN } from './protocol/message.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;
const EINTR = 4;

/** The option string that fusermount3 understands; a comma or backslash inside a value is escaped. */
export function fusermountOptions(options: MountOptions): string {
  const quoted = (value: string) => value.replace(/[\\,]/g, '\\$&');
  const list = [options.readOnly === true ? 'ro' : 'rw', 'nosuid', 'nodev'];
  if (options.noexec === true) list.push('noexec');
  if (options.nosymfollow === true) list.push('nosymfollow');
  if (options.noatime === true) list.push('noatime');
  if (options.nodiratime === true) list.push('nodiratime');
  if (options.sync === true) list.push('sync');
  if (options.dirsync === true) list.push('dirsync');
  if (options.fsname !== undefined) list.push(`fsname=${quoted(options.fsname)}`);
  if (options.subtype !== undefined) list.push(`subtype=${quoted(options.subtype)}`);
  if (options.allowOther === true) list.push('allow_other');
  if (options.defaultPermissions === true) list.push('default_permissions');
  if (options.maxRead !== undefined) list.push(`max_read=${options.maxRead}`);
  return list.join(',');
}

/**
 * Mounts with fusermount3.
 * @param mountpoint absolute, a directory of the user's own
 * @returns the descriptor
 * @throws MountError
 */
export function mountFusermount(mountpoint: string, options: MountOptions): number {
  checkDevice();
  const pair = new Int32Array(2);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, addressOf(new Uint8Array(pair.buffer))) < 0) {
    throw new MountError('EMFILE', `no socket pair for fusermount3: errno ${errno()}`);
  }
  const [ours = -1, theirs = -1] = pair;
  try {
    let said: string;
    try {
      const child = spawnSync('fusermount3', ['-o', fusermountOptions(options), '--', mountpoint], {
        stdio: ['ignore', 'ignore', 'pipe', theirs],
        env: { ...process.env, _FUSE_COMMFD: '3', LC_ALL: 'C' },
        encoding: 'utf8',
      });
      if (child.error !== undefined) throw child.error;
      said = child.status === 0 ? '' : child.stderr;
      if (child.status !== 0) throw fusermountError(said, mountpoint);
    } finally {
      closeSync(theirs);
    }
    return receiveDescriptor(ours, mountpoint);
  } catch (error) {
    if (error instanceof MountError) throw error;
    throw missing(codeOf(error));
  } finally {
    closeSync(ours);
  }
}

/** What it means that fusermount3 cannot be started. */
export function missing(code: string): MountError {
  if (code === 'ENOENT') {
    return new MountError(code, 'fusermount3 is not installed, and only root mounts without it: apt-get install fuse3');
  }
  return new MountError(code, `fusermount3 cannot be started: ${code}`);
}

/** Turns what fusermount3 printed into one line with a remedy. */
export function fusermountError(said: string, mountpoint: string): MountError {
  const line =
    said
      .split('\n')
      .find((part) => part.trim() !== '' && !part.includes('unsafe option'))
      ?.replace(/^\S*fusermount3?: /, '')
      .trim() ?? 'it said nothing';
  if (line.includes('user_allow_other')) {
    return new MountError(
      'EPERM',
      'allow_other is not allowed to users here: add the line user_allow_other to /etc/fuse.conf',
    );
  }
  if (line.includes('not owned by user') || line.includes('no write access')) {
    return new MountError(
      'EPERM',
      `mount point ${mountpoint} does not belong to this user: chown it, or choose another`,
    );
  }
  if (line.includes('mount failed: Operation not permitted')) {
    return new MountError('EPERM', 'fusermount3 is not set-user-id root: as root, chmod u+s $(command -v fusermount3)');
  }
  if (line.includes('too many FUSE filesystems')) {
    return new MountError('EMFILE', 'too many fuse filesystems are mounted: raise mount_max in /etc/fuse.conf');
  }
  if (line.includes('not found') && line.includes('/dev/fuse')) {
    return new MountError(
      'ENOENT',
      '/dev/fuse does not exist: modprobe fuse (in a container: run it with --device /dev/fuse)',
    );
  }
  return new MountError('EIO', `fusermount3 could not mount on ${mountpoint}: ${line}`);
}

/** recvmsg(2) of one byte and one descriptor. */
function receiveDescriptor(socket: number, mountpoint: string): number {
  const byte = new Uint8Array(new ArrayBuffer(8));
  const control = new Uint8Array(new ArrayBuffer(24)); // CMSG_SPACE(sizeof(int))
  const iovec = new BigUint64Array([BigInt(addressOf(byte)), 1n]);
  // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags
  const header = new BigUint64Array([
    0n,
    0n,
    BigInt(addressOf(new Uint8Array(iovec.buffer))),
    1n,
    BigInt(addressOf(control)),
    BigInt(control.length),
    0n,
  ]);
  let got: number;
  do got = recvmsg(socket, addressOf(new Uint8Array(header.buffer)), MSG_CMSG_CLOEXEC);
  while (got < 0 && errno() === EINTR);
  const view = new DataView(control.buffer);
  if (
    got !== 1 ||
    (header[5] ?? 0n) < 20n ||
    view.getInt32(8, LITTLE_ENDIAN) !== SOL_SOCKET ||
    view.getInt32(12, LITTLE_ENDIAN) !== SCM_RIGHTS
  ) {
    throw new MountError('EIO', `fusermount3 mounted ${mountpoint} but passed no descriptor`);
  }
  return view.getInt32(16, LITTLE_ENDIAN);
}
