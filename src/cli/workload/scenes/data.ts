/** Scenes of a file's data: read, written, mapped, reclaimed. */

import { DROP_PAGECACHE, drop_caches } from '../../../fs/drop-caches.js';
import { fs_reclaim } from '../../../locking/lock-map.js';
import { compact_memory } from '../../../mm/compaction.js';
import { memory_failure } from '../../../mm/memory-failure.js';
import { shrink_node } from '../../../mm/vmscan.js';
import { Task } from '../../../sched/task.js';
import { O_RDWR, O_TRUNC } from '../../../uapi/fcntl.js';
import { SEEK_DATA, SEEK_HOLE } from '../../../uapi/fs.js';
import { FIBMAP, FS_IOC_FIEMAP } from '../../../uapi/ioctl.js';
import { MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../../uapi/mman.js';
import { create, type Scene, said, sum } from './scene.js';

export const DATA: readonly Scene[] = [
  {
    name: 'data',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/f', 100_000);
      const second = await other.open('/f', O_RDWR);
      await Promise.all([
        sys.pwrite(fd, Buffer.alloc(9000, 'b'), 3000),
        other.pwrite(second, Buffer.alloc(9000, 'c'), 50_000),
        sys.fsync(fd),
      ]);
      await drop_caches(new Task(sb.sched, sb.machine.validator, { comm: 'drop' }), sb, DROP_PAGECACHE);
      const [one, two] = await Promise.all([sys.pread(fd, 20_000, 0), other.pread(second, 20_000, 45_000)]);
      await sys.fallocate(fd, 3, 4096, 8192);
      await sys.fallocate(fd, 0, 0, 200_000);
      const holes = [await sys.lseek(fd, 0, SEEK_HOLE), await sys.lseek(fd, 0, SEEK_DATA)];
      const map = Buffer.alloc(32);
      map.writeBigUInt64LE(1n << 40n, 8);
      const extents = (await sys.ioctl(fd, FS_IOC_FIEMAP, map)).readUInt32LE(20) > 0;
      const mapped = (await sys.ioctl(fd, FIBMAP, Buffer.alloc(4))).readInt32LE(0) > 0;
      const copy = await create(sys, '/g', 10);
      const copied = await said(sys.copy_file_range(fd, 0, copy, 0, 30_000));
      await sys.fdatasync(copy);
      const sparse = await create(sys, '/h', 10);
      await sys.ftruncate(sparse, 50_000);
      const holes2 = [await sys.copy_file_range(sparse, 0, copy, 8192, 50_000), (await sys.fstat(copy)).blocks];
      const cloned = await said(sys.clone_file_range(sparse, 8192, 8192, copy, 16_384));
      await sys.pwrite(fd, Buffer.alloc(20_000, 'd'), 300_000);
      await sys.ftruncate(fd, 6000);
      await sys.ftruncate(fd, 60_000);
      await sys.close(await other.open('/f', O_RDWR | O_TRUNC));
      await sys.sync();
      return [
        sum(one),
        sum(two),
        holes,
        extents,
        mapped,
        copied,
        holes2,
        cloned,
        (await sys.stat('/g')).size,
        (await sys.stat('/f')).size,
      ];
    },
  },
  {
    name: 'memory',
    run: async (sys, _other, sb) => {
      const { machine } = sb;
      const fd = await create(sys, '/r', 40_000);
      const task = new Task(sb.sched, machine.validator, { comm: 'reclaim' });
      const inside = fs_reclaim.enter(task);
      for (let pass = 0; pass < 3; pass++) await shrink_node(task, machine.memory, 8, 4);
      inside.release();
      await sys.fsync(fd);
      const mapping = sb.inodeHash.get((await sys.stat('/r')).ino)?.i_mapping;
      await sys.pread(fd, 40_000, 0);
      const bad = mapping?.i_pages.load(2);
      const failed = bad === undefined ? 'no page' : await memory_failure(task, bad);
      const swap = await create(sys, '/swap', 2 ** 20);
      await sys.fsync(swap);
      const swapping = [await said(sys.swapon(swap)), await said(sys.swapoff(swap))];
      await compact_memory(task, machine.memory, 'MIGRATE_SYNC');
      return [failed, swapping, sum(await sys.pread(fd, 40_000, 0))];
    },
  },
  {
    name: 'mappings',
    run: async (sys) => {
      const fd = await create(sys, '/m', 20_000);
      await sys.fsync(fd);
      const shared = await sys.mmap(0, 20_480, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
      const own = await sys.mmap(0, 20_480, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
      await sys.store(shared + 5000, Buffer.from('mapped'));
      await sys.store(own + 5000, Buffer.from('own'));
      const read = (await sys.load(own + 5000, 6)).toString();
      await sys.msync(shared, 20_480, 4);
      await sys.store(shared + 9000, Buffer.from('again'));
      await sys.mremap(own, 20_480, 40_960);
      await sys.munmap(shared, 20_480);
      return [read, (await sys.pread(fd, 6, 5000)).toString()];
    },
  },
];
