/** Scenes in which a filesystem is shut down, and of writes that pass its cache by. */

import type { Syscalls } from '../../../fs/syscalls.js';
import { O_CREAT, O_DIRECT, O_DIRECTORY, O_RDWR } from '../../../uapi/fcntl.js';
import { FS_IOC_SHUTDOWN } from '../../../uapi/ioctl.js';
import { create, names, type Scene, said, sum } from './scene.js';

async function shutDown(sys: Syscalls, other: Syscalls, how: number): Promise<unknown> {
  const fd = await create(sys, '/s');
  const root = await sys.open('/', O_DIRECTORY);
  const flags = Buffer.alloc(4);
  flags.writeUInt32LE(how);
  await sys.ioctl(root, FS_IOC_SHUTDOWN, flags);
  const after = [
    await said(sys.write(fd, Buffer.from('x'))),
    await said(sys.read(fd, 10)),
    await said(sys.fsync(fd)),
    await said(other.mkdir('/d', 0o755)),
    await said(other.rename('/s', '/t')),
    await said(other.unlink('/s')),
  ];
  return [after, await names(sys, '/')];
}

export const STOPS: readonly Scene[] = [
  { name: 'shutdown', run: (sys, other) => shutDown(sys, other, 0) },
  { name: 'shutdown without a flush', run: (sys, other) => shutDown(sys, other, 2) },
  {
    name: 'direct writes where nothing is',
    run: async (sys, other) => {
      const fd = await sys.open('/d', O_CREAT | O_RDWR | O_DIRECT, 0o644);
      await sys.pwrite(fd, Buffer.alloc(8192, 'd'), 0);
      await sys.ftruncate(fd, 65_536);
      await sys.fallocate(fd, 0, 16_384, 16_384);
      const reader = await other.open('/d', O_RDWR);
      await other.pread(reader, 65_536, 0);
      await Promise.all([
        sys.pwrite(fd, Buffer.alloc(1024, 'u'), 20_480 + 512),
        sys.pwrite(fd, Buffer.alloc(8192, 'h'), 40_960),
        other.ftruncate(reader, 100_000),
        sys.pwrite(fd, Buffer.alloc(4096, 'e'), 106_496),
      ]);
      return [(await sys.fstat(fd)).size, sum(await other.pread(reader, 200_000, 0))];
    },
  },
];
