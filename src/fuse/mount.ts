// Mounting and unmounting, by the way that fits: mount(2) as root, fusermount3 otherwise, a descriptor when one is passed.

import { spawn } from 'node:child_process';
import koffi from 'koffi';
import { MNT_DETACH, UMOUNT_NOFOLLOW } from '../uapi/mount.js';
import { checkMountpoint } from './mount-check.js';
import { isBlockDevice, mountDirect } from './mount-direct.js';
import { adoptDescriptor, passedDescriptor } from './mount-fd.js';
import { missing, mountFusermount } from './mount-fusermount.js';
import { codeOf, MountError, type MountOptions } from './mount-options.js';
import { connectionOf, mountAt } from './mountinfo.js';

export interface Mounted {
  /** /dev/fuse; belongs to the caller */
  readonly fd: number;
  /** absolute and without symbolic links; /dev/fd/N as given */
  readonly mountpoint: string;
  readonly way: 'direct' | 'fusermount' | 'descriptor';
  /** the number in /sys/fs/fuse/connections, when it could be found */
  readonly connection: number | undefined;
}

/**
 * Mounts a fuse filesystem; serving it is the caller's. Only from INIT's answer on does the mount respond.
 * @throws MountError with a line for the user
 */
export function mountFuse(given: string, options: MountOptions): Mounted {
  const passed = passedDescriptor(given);
  if (passed !== undefined) {
    return { fd: adoptDescriptor(passed), mountpoint: given, way: 'descriptor', connection: undefined };
  }
  const mountpoint = checkMountpoint(given, options);
  const way = process.geteuid?.() === 0 ? 'direct' : 'fusermount';
  const fd = way === 'direct' ? mountDirect(mountpoint, options) : mountFusermount(mountpoint, options);
  const mounted = mountAt(mountpoint);
  return { fd, mountpoint, way, connection: mounted === undefined ? undefined : connectionOf(mounted) };
}

/** Whether mountFuse would have the kernel mount a block device as itself, and so take it: nobody else may have it then. */
export function mountsDisk(given: string, { image }: MountOptions): boolean {
  if (image === undefined || passedDescriptor(given) !== undefined || process.geteuid?.() !== 0) return false;
  return isBlockDevice(image);
}

interface Asynchronous {
  async(target: string, flags: number, done: (error: unknown, result: number) => void): void;
}

/**
 * Unmounts. Never blocks the caller's event loop: the kernel may first write back through the very daemon that asks.
 * @param mountpoint absolute
 * @param lazy detach now, and finish when nothing uses it any more
 * @throws MountError EBUSY while files are open (and not lazy), EINVAL when nothing is mounted there, EPERM
 */
export async function unmountFuse(mountpoint: string, lazy: boolean): Promise<void> {
  if (process.geteuid?.() === 0) await umountDirect(mountpoint, lazy);
  else await umountFusermount(mountpoint, lazy);
}

async function umountDirect(mountpoint: string, lazy: boolean): Promise<void> {
  // The errno of a call on another thread is lost to this one, so that the reason is found out by looking.
  const call: Asynchronous = koffi.load(null).func('umount2', 'int', ['str', 'int']);
  const result = await new Promise<number>((resolve, reject) => {
    call.async(mountpoint, (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW, (error, value) => {
      if (error) reject(error);
      else resolve(value);
    });
  });
  if (result === 0) return;
  if (mountAt(mountpoint) === undefined) throw notMounted(mountpoint);
  throw busy(mountpoint);
}

function notMounted(mountpoint: string): MountError {
  return new MountError('EINVAL', `nothing is mounted on ${mountpoint}`);
}

function busy(mountpoint: string): MountError {
  return new MountError(
    'EBUSY',
    `${mountpoint} is in use: end what uses it (fuser -m ${mountpoint}), or unmount with --lazy`,
  );
}

async function umountFusermount(mountpoint: string, lazy: boolean): Promise<void> {
  const child = spawn('fusermount3', [lazy ? '-uz' : '-u', '--', mountpoint], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  let said = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    said += text;
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', (error) => reject(missing(codeOf(error))));
    child.on('close', resolve);
  });
  if (status === 0) return;
  if (said.includes('busy')) throw busy(mountpoint);
  if (mountAt(mountpoint) === undefined) throw notMounted(mountpoint);
  // fusermount3 looks only at what this user has mounted.
  if (said.includes('not found in') || said.includes('not mounted')) {
    throw new MountError('EPERM', `${mountpoint} was mounted by another user: only that user, or root, can unmount it`);
  }
  throw new MountError(
    'EPERM',
    `fusermount3 could not unmount ${mountpoint}: ${said.trim().replace(/^\S*fusermount3?: /, '')}`,
  );
}
