/** Scenes of several who write to one file past the page cache at the same time. */

import type { Syscalls } from '../../../fs/syscalls.js';
import { O_CREAT, O_DIRECT, O_RDWR } from '../../../uapi/fcntl.js';
import { type Scene, sum } from './scene.js';
import { onSlow } from './slow.js';

const P = 4096;

/** A file of 8 pages and of 8 that are preallocated, all within its size and on the device. */
async function furnished(sys: Syscalls): Promise<void> {
  const fd = await sys.open('/d', O_CREAT | O_RDWR, 0o644);
  await sys.pwrite(fd, Buffer.alloc(8 * P, 'o'), 0);
  await sys.fallocate(fd, 0, 8 * P, 8 * P);
  await sys.fsync(fd);
  await sys.close(fd);
}

export const DIRECT: readonly Scene[] = [
  {
    name: 'direct writes to one file at a time',
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, other) => {
        await furnished(sys);
        const fd = await sys.open('/d', O_RDWR | O_DIRECT);
        const second = await other.open('/d', O_RDWR | O_DIRECT);
        // What overwrites runs beside what does; what maps blocks, or makes the file longer, is alone.
        const written = await Promise.all([
          sys.pwrite(fd, Buffer.alloc(2 * P, 1), 0),
          other.pwrite(second, Buffer.alloc(P, 2), 3 * P),
          sys.pwrite(fd, Buffer.alloc(512, 3), 5 * P + 512),
          other.pwrite(second, Buffer.alloc(2 * P, 4), 10 * P),
          sys.pwrite(fd, Buffer.alloc(512, 5), 14 * P),
          other.pwrite(second, Buffer.alloc(P, 6), 16 * P),
          other.pread(second, P, 7 * P).then(({ length }) => length),
        ]);
        const cut = await Promise.all([
          sys.pwrite(fd, Buffer.alloc(P, 7), 0),
          other.ftruncate(second, 12 * P).then(() => 'cut'),
        ]);
        return [written, cut, sum(await sys.pread(fd, 20 * P, 0))];
      }),
  },
];
