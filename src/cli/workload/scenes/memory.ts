/** Scenes of the memory of processes: swapped, moved, mapped. */

import type { SuperBlock } from '../../../fs/super-block.js';
import type { Syscalls } from '../../../fs/syscalls.js';
import { fs_reclaim } from '../../../locking/lock-map.js';
import { compact_memory } from '../../../mm/compaction.js';
import { PAGE_SIZE } from '../../../mm/folio.js';
import { PMD_SIZE } from '../../../mm/unmapped-area.js';
import { shrink_node } from '../../../mm/vmscan.js';
import { Task } from '../../../sched/task.js';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from '../../../uapi/falloc.js';
import { O_CREAT, O_DIRECT, O_RDWR } from '../../../uapi/fcntl.js';
import { RWF_HIPRI } from '../../../uapi/fs.js';
import { FS_IOC_SETFLAGS } from '../../../uapi/ioctl.js';
import { MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../../uapi/mman.js';
import { create, type Scene, sum } from './scene.js';

const RW = PROT_READ | PROT_WRITE;
/** A hole, and the file as long as it was. */
const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

function kernelTask(sb: SuperBlock, comm: string): Task {
  return new Task(sb.sched, sb.machine.validator, { comm });
}

/** Memory is short: everything goes that can. */
async function reclaim(sb: SuperBlock): Promise<void> {
  const task = kernelTask(sb, 'reclaim');
  const { memory } = sb.machine;
  const inside = fs_reclaim.enter(task);
  for (let pass = 0; pass < 4; pass++) await shrink_node(task, memory, memory.nr_pages, 0);
  inside.release();
}

/** Fill some memory of a process, have it swapped out to an open file, and look at it again. */
export async function swapThrough(sys: Syscalls, sb: SuperBlock, fd: number): Promise<readonly unknown[]> {
  await sys.swapon(fd);
  const at = await sys.mmap(0, 24 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  await sys.store(at, Buffer.alloc(24 * PAGE_SIZE, 'swapped'));
  await reclaim(sb);
  const out = [...sb.memory.swap].map(({ inuse_pages }) => inuse_pages > 0);
  const some = sum(await sys.load(at, 8 * PAGE_SIZE));
  await sys.swapoff(fd);
  const rest = sum(await sys.load(at, 24 * PAGE_SIZE));
  await sys.munmap(at, 24 * PAGE_SIZE);
  return [out, some, rest, [...sb.memory.swap].length];
}

export const MEMORY: readonly Scene[] = [
  {
    name: 'swap',
    run: async (sys, _other, sb) => {
      const fd = await create(sys, '/swap', 64 * PAGE_SIZE);
      await sys.fsync(fd);
      return await swapThrough(sys, sb, fd);
    },
  },
  {
    name: 'swap in pieces',
    run: async (sys, other, sb) => {
      const fd = await sys.open('/swap', O_CREAT | O_RDWR, 0o600);
      const beside = await other.open('/beside', O_CREAT | O_RDWR, 0o600);
      // Blocks of two files by turns: the swapper goes through the filesystem.
      for (let page = 0; page < 64; page++) {
        await sys.fallocate(fd, 0, page * PAGE_SIZE, PAGE_SIZE);
        await other.fallocate(beside, 0, page * PAGE_SIZE, PAGE_SIZE);
      }
      return await swapThrough(sys, sb, fd);
    },
  },
  {
    name: 'direct',
    run: async (sys, other) => {
      const fd = await create(sys, '/d', 40 * PAGE_SIZE);
      const direct = await other.open('/d', O_RDWR | O_DIRECT);
      const before = sum(await other.preadv2(direct, 10 * PAGE_SIZE, 512, RWF_HIPRI));
      await sys.fallocate(fd, PUNCH, 4 * PAGE_SIZE, 4 * PAGE_SIZE);
      await Promise.all([
        other.pwrite(direct, Buffer.alloc(12 * PAGE_SIZE, 'direct'), 2 * PAGE_SIZE),
        sys.pread(fd, 20 * PAGE_SIZE, 0),
      ]);
      const both = [sum(await sys.pread(fd, 20 * PAGE_SIZE, 0)), sum(await other.pread(direct, 20 * PAGE_SIZE, 0))];
      return [before, both];
    },
  },
  {
    name: 'secret',
    run: async (sys, other) => {
      const fd = await create(sys, '/s', 6 * PAGE_SIZE);
      await sys.ioctl(fd, FS_IOC_SETFLAGS, Buffer.from([1, 0, 0, 0]));
      const reader = await other.open('/s', O_RDWR);
      const both = await Promise.all([sys.ftruncate(fd, 2 * PAGE_SIZE), other.pread(reader, PAGE_SIZE, 0)]);
      await sys.unlink('/s');
      return [sum(both[1]), (await sys.fstat(fd)).size];
    },
  },
  {
    name: 'direct and mapped',
    run: async (sys, other) => {
      const fd = await create(sys, '/m', 80 * PAGE_SIZE);
      await sys.fsync(fd);
      const opened = await other.open('/m', O_RDWR);
      const at = await other.mmap(0, 80 * PAGE_SIZE, RW, MAP_SHARED, opened);
      const direct = await sys.open('/m', O_RDWR | O_DIRECT);
      // The end of the range is dirtied while the pages before it are dropped.
      const stores = async (): Promise<void> => {
        for (let i = 0; i < 40; i++) await other.store(at + (70 + (i % 8)) * PAGE_SIZE, Buffer.from('stored'));
      };
      await Promise.all([sys.pwrite(direct, Buffer.alloc(80 * PAGE_SIZE, 'written'), 0), stores()]);
      await other.munmap(at, 80 * PAGE_SIZE);
      return [sum(await sys.pread(fd, 20 * PAGE_SIZE, 0)), (await sys.fstat(fd)).size];
    },
  },
  {
    name: 'compaction',
    run: async (sys, other, sb) => {
      // The second slab has few pages, the first one room for them.
      const fd = await create(sys, '/c', 600 * PAGE_SIZE);
      await sys.fsync(fd);
      await sys.fallocate(fd, PUNCH, 0, 200 * PAGE_SIZE);
      const mapped = await other.mmap(0, PAGE_SIZE, RW, MAP_SHARED, await other.open('/c', O_RDWR), 599 * PAGE_SIZE);
      await other.store(mapped, Buffer.from('moves'));
      const { moved } = await compact_memory(kernelTask(sb, 'kcompactd'), sb.memory, 'MIGRATE_SYNC');
      const after = String(await other.load(mapped, 5));
      await sys.fsync(fd);
      return [moved > 0, after, sum(await sys.pread(fd, 20 * PAGE_SIZE, 590 * PAGE_SIZE))];
    },
  },
  {
    name: 'fault around',
    run: async (sys) => {
      const fd = await create(sys, '/a', 40 * PAGE_SIZE);
      await sys.fadvise(fd, 0, 0, 3);
      const at = await sys.mmap(0, 2 * PMD_SIZE, PROT_READ, MAP_SHARED, fd, 8 * PAGE_SIZE);
      const read = sum(await sys.load(at, 20 * PAGE_SIZE));
      return [(at % PMD_SIZE) / PAGE_SIZE, read];
    },
  },
];
