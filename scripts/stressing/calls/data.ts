/** Reading and writing files, and ranges of them. */
import { SEEK_DATA, SEEK_HOLE } from '../../../src/uapi/fs.js';
import { FS_IOC_FIEMAP } from '../../../src/uapi/ioctl.js';
import { type Call, pick } from './call.js';

export const DATA: readonly Call[] = [
  { name: 'pwrite', weight: 16, run: (a) => a.sys.pwrite(a.fd(), a.bytes(pick(a, 100, 5000, 40_000)), a.place()) },
  { name: 'write', weight: 6, run: (a) => a.sys.write(a.fd(), a.bytes(9000)) },
  { name: 'pread', weight: 14, run: (a) => a.sys.pread(a.fd(), 1 + a.choose(60_000), a.place()) },
  { name: 'lseek', weight: 3, run: (a) => a.sys.lseek(a.fd(), a.choose(100_000), pick(a, 0, SEEK_HOLE, SEEK_DATA)) },
  { name: 'ftruncate', weight: 5, run: (a) => a.sys.ftruncate(a.fd(), a.place()) },
  { name: 'truncate', weight: 2, run: (a) => a.sys.truncate(a.path(), a.place()) },
  {
    name: 'fallocate',
    weight: 6,
    run: (a) => {
      const whole = a.choose(2) === 0;
      const offset = whole ? a.choose(30) * 4096 : a.place();
      const length = whole ? (1 + a.choose(20)) * 4096 : 1 + a.choose(60_000);
      // Keep the size, punch, collapse, zero, insert.
      return a.sys.fallocate(a.fd(), pick(a, 0, 1, 3, 0x8, 0x10, 0x11, 0x20), offset, length);
    },
  },
  { name: 'fsync', weight: 3, run: (a) => a.sys.fsync(a.fd()) },
  { name: 'fdatasync', weight: 3, run: (a) => a.sys.fdatasync(a.fd()) },
  {
    name: 'sync_file_range',
    weight: 2,
    run: (a) => a.sys.sync_file_range(a.fd(), a.place(), a.choose(50_000), a.choose(8)),
  },
  { name: 'sync', weight: 1, run: (a) => a.sys.sync() },
  { name: 'fadvise', weight: 2, run: (a) => a.sys.fadvise(a.fd(), a.place(), a.choose(50_000), a.choose(6)) },
  {
    name: 'copy_file_range',
    weight: 3,
    run: (a) => a.sys.copy_file_range(a.fd(), a.place(), a.fd(), a.place(), a.choose(50_000)),
  },
  { name: 'sendfile', weight: 1, run: (a) => a.sys.sendfile(a.fd(), a.fd(), a.place(), a.choose(20_000)) },
  {
    name: 'fiemap',
    weight: 2,
    run: (a) => {
      const map = Buffer.alloc(32 + 4 * 56);
      map.writeBigUInt64LE(1n << 40n, 8);
      map.writeUInt32LE(a.choose(2), 16);
      map.writeUInt32LE(4, 24);
      return a.sys.ioctl(a.fd(), FS_IOC_FIEMAP, map);
    },
  },
];
