/** Who has an image locked, to say so and to tell the remedy. */
import { readFileSync, realpathSync, type Stats } from 'node:fs';
import { mountsElsewhere, unescapeOctal } from './mount-namespaces.js';

function lines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    // Not every system shows it; the message then says less.
    return [];
  }
}

/** The file behind a loop device, or the source itself. */
function fileOf(source: string): string {
  const loop = /^\/dev\/(loop\d+)$/.exec(source)?.[1];
  return loop === undefined ? source : (lines(`/sys/block/${loop}/loop/backing_file`)[0] ?? source);
}

function realPath(given: string): string {
  try {
    return realpathSync(given);
  } catch {
    // It was opened before: somebody has taken its name away meanwhile.
    return given;
  }
}

/** Where the image is mounted, as far as this process can see. */
export function mountOf(given: string): string | undefined {
  const path = realPath(given);
  for (const line of lines('/proc/self/mounts')) {
    const [source = '', target = '', type = ''] = line.split(' ');
    if (!type.startsWith('fuse')) continue;
    const shown = unescapeOctal(source);
    if (shown === path || fileOf(shown) === path) return unescapeOctal(target);
  }
  return undefined;
}

/** The process that has the file locked, with its name. */
function lockerOf(stat: Stats): string | undefined {
  for (const line of lines('/proc/locks')) {
    // Number, kind, ADVISORY, WRITE, process, file; lines with an arrow are of those who wait.
    const [, kind, , , pid = '', file = ''] = line.split(/\s+/);
    if (kind !== 'FLOCK') continue;
    if (file.split(':')[2] === String(stat.ino) && Number(pid) > 0) {
      const [name = ''] = lines(`/proc/${pid}/comm`);
      return `${pid}${name === '' ? '' : ` (${name})`}`;
    }
  }
  return undefined;
}

/** One line: the image, who has it locked, and what to do. */
export function describeHolder(path: string, stat: Stats): string {
  const mountpoint = mountOf(path);
  if (mountpoint !== undefined)
    return `${path} is in use: it is mounted on ${mountpoint}; run: latchfs umount ${mountpoint}`;
  const real = realPath(path);
  const [other] = mountsElsewhere(
    ({ type, source }) => type.startsWith('fuse') && (source === real || fileOf(source) === real),
  );
  if (other !== undefined) {
    const unmount = `nsenter -t ${other.pid} -m umount ${other.mountpoint}`;
    return `${path} is in use: the mount namespace of process ${other.pid} (${other.comm}) has it mounted on ${other.mountpoint}; end that process, or run: ${unmount}`;
  }
  const locker = lockerOf(stat);
  if (locker !== undefined)
    return `${path} is in use by process ${locker}: unmount it there first, or end that process`;
  return `${path} is in use: another latchfs has it mounted; unmount that one first`;
}

/** What the system does with a block device, likewise; undefined where that cannot be seen. */
export function describeUse(path: string): string | undefined {
  for (const line of lines('/proc/self/mounts')) {
    const [source = '', target = ''] = line.split(' ').map(unescapeOctal);
    if (source === path) return `${path} is in use: it is mounted on ${target}; run: umount ${target}`;
  }
  if (!lines('/proc/swaps').some((line) => line.startsWith(`${path} `))) return undefined;
  return `${path} is in use as swap space; run: swapoff ${path}`;
}
