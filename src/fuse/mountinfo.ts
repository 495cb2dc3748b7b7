// What is mounted: /proc/self/mountinfo, read and parsed. Reading it never touches the filesystems it lists.

import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

export interface MountInfo {
  readonly id: number;
  readonly parent: number;
  readonly major: number;
  readonly minor: number;
  /** the directory of the filesystem that is visible, usually "/" */
  readonly root: string;
  readonly mountpoint: string;
  readonly options: readonly string[];
  readonly fstype: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** Undoes the kernel's octal escapes (\040 for a blank) byte by byte. */
function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Paths are read as latin1 here; callers compare and print UTF-8. */
function path(field: string): string {
  return Buffer.from(unescaped(field), 'latin1').toString('utf8');
}

/** Parses the text of a mountinfo file (read as latin1). Lines that are none are left out. */
export function parseMountinfo(text: string): MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    const dash = fields.indexOf('-', 6);
    const [id, parent, device, root, mountpoint, options] = fields;
    if (dash < 0 || !id || !parent || !device || !root || !mountpoint || !options) continue;
    const [major, minor] = device.split(':');
    mounts.push({
      id: Number(id),
      parent: Number(parent),
      major: Number(major),
      minor: Number(minor),
      root: path(root),
      mountpoint: path(mountpoint),
      options: options.split(','),
      fstype: fields[dash + 1] ?? '',
      source: path(fields[dash + 2] ?? ''),
      superOptions: (fields[dash + 3] ?? '').split(','),
    });
  }
  return mounts;
}

/** All mounts that this process sees, oldest first. */
export function mounts(): MountInfo[] {
  return parseMountinfo(readFileSync('/proc/self/mountinfo', 'latin1'));
}

/** The topmost mount on exactly this absolute path, if any. */
export function mountAt(mountpoint: string): MountInfo | undefined {
  return mounts().findLast((mount) => mount.mountpoint === mountpoint);
}

/** What a mount is of, for people: of a loop device the file behind it. */
export function sourceOf(mount: MountInfo): string {
  const name = /^\/dev\/(loop\d+)$/.exec(mount.source)?.[1];
  if (name === undefined) return mount.source;
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trimEnd();
  } catch {
    return mount.source;
  }
}

/** Whether a mount is of FUSE, of whatever subtype. */
export function isFuse(mount: MountInfo): boolean {
  return /^fuse(blk)?($|\.)/.test(mount.fstype);
}

/** The number of a fuse mount's connection: its directory in /sys/fs/fuse/connections. */
export function connectionOf(mount: Pick<MountInfo, 'major' | 'minor'>): number {
  return mount.major * 0x100000 + mount.minor;
}

/**
 * Cuts a connection off from its daemon: every request fails with ECONNABORTED, the daemon's next read ends.
 * @returns whether it could be done (fusectl may not be mounted, the connection may be gone or another user's)
 */
export function abortConnection(connection: number): boolean {
  try {
    writeFileSync(`/sys/fs/fuse/connections/${connection}/abort`, '1');
    return true;
  } catch {
    return false;
  }
}

/** alive; dead: nobody serves it any more (ENOTCONN); stuck: no answer in time. */
export type Health = 'alive' | 'dead' | 'stuck';

/**
 * Asks a mounted filesystem whether it lives, with a statfs(2) in a process of its own: one that waits for a server that does not answer cannot end
 * unless it is killed.
 * @param timeout milliseconds
 */
export function health(mountpoint: string, timeout: number): Promise<Health> {
  const env = { ...process.env, LC_ALL: 'C' };
  return new Promise((resolve) => {
    execFile('stat', ['-f', '--', mountpoint], { timeout, killSignal: 'SIGKILL', env }, (error, _stdout, stderr) => {
      if (error?.killed === true) resolve('stuck');
      else resolve(/not connected|connection abort/.test(stderr) ? 'dead' : 'alive');
    });
  });
}
