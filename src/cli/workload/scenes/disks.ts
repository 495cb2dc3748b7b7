/** Scenes of block devices as files: read, asked, mapped. */

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlockDevice } from '../../../block/block-device.js';
import { type FaultPolicy, faultyDevice } from '../../../block/faulty-device.js';
import { imageDevice } from '../../../block/image-device.js';
import { MEMORY_GET_STAT, memoryDevice } from '../../../block/memory-device.js';
import { add_disk, del_gendisk } from '../../../fs/disks.js';
import { DROP_PAGECACHE, drop_caches } from '../../../fs/drop-caches.js';
import { kill_sb, vfs_mount } from '../../../fs/super.js';
import type { SuperBlock } from '../../../fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../../fs/syscalls.js';
import { mkfs } from '../../../latch/mkfs.js';
import { latch_fs_type } from '../../../latch/super.js';
import { PAGE_SIZE } from '../../../mm/folio.js';
import { PMD_SIZE } from '../../../mm/unmapped-area.js';
import { Task } from '../../../sched/task.js';
import { O_RDWR } from '../../../uapi/fcntl.js';
import { BLKGETSIZE64, BLKRRPART, FIBMAP, HDIO_GETGEO, LOOP_GET_STATUS64 } from '../../../uapi/ioctl.js';
import { MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../../uapi/mman.js';
import { S_IFBLK } from '../../../uapi/stat.js';
import { create, type Scene, said, sum } from './scene.js';

const MIB = 2 ** 20;
const NOTHING = Buffer.alloc(0);

/** Plug a disk in, make a node for it, and open that for as long as `body` runs. */
async function withDisk<T>(
  sys: Syscalls,
  sb: SuperBlock,
  disk: BlockDevice,
  body: (fd: number) => Promise<T>,
): Promise<T> {
  const number = add_disk(sb.machine, disk);
  await sys.mknod('/disk', S_IFBLK | 0o600, number);
  const fd = await sys.open('/disk', O_RDWR);
  try {
    return await body(fd);
  } finally {
    await said(sys.close(fd));
    del_gendisk(sb.machine, number);
  }
}

/** A disk in a file that grows while it is open: it shows so when its partitions are read again. */
async function growingImage(sys: Syscalls, sb: SuperBlock): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), 'latchfs-workload-'));
  try {
    const path = join(folder, 'image');
    writeFileSync(path, Buffer.alloc(MIB));
    return await withDisk(sys, sb, imageDevice(path, false, sb.sched, sb.machine.validator), async (fd) => {
      const size = async (): Promise<string> => String((await sys.ioctl(fd, BLKGETSIZE64, NOTHING)).readBigUInt64LE());
      const before = await size();
      await sys.pwrite(fd, Buffer.from('on the image'), 5000);
      await sys.fsync(fd);
      truncateSync(path, 2 * MIB);
      await sys.ioctl(fd, BLKRRPART, NOTHING);
      const status = (await sys.ioctl32(fd, LOOP_GET_STATUS64, NOTHING)).length;
      return [before, await size(), status, String(await sys.pread(fd, 12, 5000))];
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A filesystem on a disk with a bad sector: what lies beside it can be read. */
async function badSector(sb: SuperBlock): Promise<unknown> {
  const { machine, sched } = sb;
  const disk = memoryDevice(8 * MIB, sched, machine.validator);
  const task = new Task(sched, machine.validator, { comm: 'mount' });
  await mkfs(task, disk);
  let bad = -1;
  const policy: FaultPolicy = ({ op, offset, length }) =>
    op === 'read' && bad >= offset && bad < offset + length ? { error: 'EIO' } : undefined;
  const damaged = await vfs_mount(machine, latch_fs_type, faultyDevice(disk, policy, sched, machine.validator), 0);
  const process = new Process(damaged);
  const sys = syscalls(process);
  const fd = await create(sys, '/f', 8 * PAGE_SIZE);
  await sys.fsync(fd);
  bad = (await sys.ioctl(fd, FIBMAP, Buffer.from([2, 0, 0, 0]))).readInt32LE(0) * PAGE_SIZE + 1100;
  await drop_caches(task, damaged, DROP_PAGECACHE);
  const read = [await said(sys.pread(fd, 4, 2 * PAGE_SIZE + 1100)), sum(await sys.pread(fd, 1000, 2 * PAGE_SIZE))];
  await drop_caches(task, damaged, DROP_PAGECACHE);
  await process.exit();
  return [read, await kill_sb(damaged)];
}

export const DISKS: readonly Scene[] = [
  {
    name: 'disk',
    run: async (sys, other, sb) => {
      const disk = memoryDevice(8 * MIB, sb.sched, sb.machine.validator);
      return await withDisk(sys, sb, disk, async (fd) => {
        await sys.pwrite(fd, Buffer.alloc(9000, 'disk'), 1000);
        await sys.fsync(fd);
        const second = await other.open('/disk', O_RDWR);
        const read = sum(await other.pread(second, 20_000, 0));
        await other.close(second);
        const stored = (await sys.ioctl(fd, MEMORY_GET_STAT, NOTHING)).readBigUInt64LE(0).toString();
        const alike = (await sys.ioctl32(fd, MEMORY_GET_STAT, NOTHING)).readBigUInt64LE(0).toString();
        const geometry = (await sys.ioctl(fd, HDIO_GETGEO, NOTHING)).toString('hex');
        const end = [await sys.lseek(fd, 0, 2), await said(sys.write(fd, Buffer.from('x')))];
        return [read, stored, alike, geometry, end];
      });
    },
  },
  {
    name: 'mapped disk',
    run: async (sys, other, sb) => {
      const disk = memoryDevice(8 * MIB, sb.sched, sb.machine.validator);
      const process = new Process(sb);
      const own = syscalls(process);
      return await withDisk(own, sb, disk, async (fd) => {
        const at = await own.mmap(0, 2 * PMD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PMD_SIZE);
        const before = sum(await own.load(at + 5000, 4));
        await own.store(at + 5000, Buffer.from('direct'));
        const read = String(await sys.pread(await sys.open('/disk', O_RDWR), 6, PMD_SIZE + 5000));
        await own.pwrite(fd, Buffer.from('DI'), PMD_SIZE + 5000);
        // A debugger cannot pin what has no pages.
        const traced = String(await other.peek(process, at + 5000, 6));
        await other.poke(process, at + 5002, Buffer.from('RECT'));
        await own.munmap(at + 8 * PAGE_SIZE, PAGE_SIZE);
        const left = String(await own.load(at + 5000, 6));
        const areas = disk.direct_users;
        await process.exit();
        return [before, read, traced, left, areas, disk.direct_users];
      });
    },
  },
  {
    name: 'no translation of addresses',
    run: async (sys, _other, sb) => {
      const process = new Process(sb, { mmu: false });
      const own = syscalls(process);
      const fd = await create(sys, '/f', 2 * PAGE_SIZE);
      return await withDisk(own, sb, memoryDevice(8 * MIB, sb.sched, sb.machine.validator), async (disk) => {
        const direct = await own.mmap(0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, disk, MIB);
        await own.store(direct + 5000, Buffer.from('in place'));
        const file = await own.open('/f', 0);
        const copy = await own.mmap(0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file);
        await own.store(copy, Buffer.from('own'));
        const refused = await said(own.mmap(0, PAGE_SIZE, PROT_READ, MAP_SHARED, file));
        const bytes = [String(await own.pread(disk, 8, MIB + 5000)), String(await own.load(copy, 5))];
        const kept = String(await sys.pread(fd, 5, 0));
        await process.exit();
        return [bytes, kept, refused];
      });
    },
  },
  { name: 'bad sector', run: (_sys, _other, sb) => badSector(sb) },
  { name: 'growing image', run: (sys, _other, sb) => growingImage(sys, sb) },
];
