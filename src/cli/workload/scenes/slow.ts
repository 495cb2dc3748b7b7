/** Scenes on a device that takes its time, so that others come in the middle of what reads and writes. */

import { faultyDevice } from '../../../block/faulty-device.js';
import { memoryDevice } from '../../../block/memory-device.js';
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../../fs/drop-caches.js';
import { kill_sb, vfs_mount } from '../../../fs/super.js';
import type { SuperBlock } from '../../../fs/super-block.js';
import { sync_filesystem } from '../../../fs/sync.js';
import { Process, type Syscalls, syscalls } from '../../../fs/syscalls.js';
import { fsck } from '../../../latch/fsck/fsck.js';
import { mkfs } from '../../../latch/mkfs.js';
import { latch_fs_type } from '../../../latch/super.js';
import { Task } from '../../../sched/task.js';
import { O_CREAT, O_DIRECT, O_RDWR } from '../../../uapi/fcntl.js';
import { type Scene, said, sum } from './scene.js';

const MIB = 2 ** 20;
const P = 4096;

export type Body = (sys: Syscalls, other: Syscalls, slow: SuperBlock) => Promise<unknown>;

/** Run `body` on a filesystem of its own whose requests all complete later. @returns what it returns, and what fsck says afterwards */
export async function onSlow({ sched, machine }: SuperBlock, body: Body): Promise<unknown> {
  const task = new Task(sched, machine.validator, { comm: 'mkfs' });
  const memory = memoryDevice(16 * MIB, sched, machine.validator);
  await mkfs(task, memory);
  const device = faultyDevice(memory, () => ({ delay: 0 }), sched, machine.validator);
  const slow = await vfs_mount(machine, latch_fs_type, device, 0);
  const processes = [new Process(slow), new Process(slow)] as const;
  const result = await body(syscalls(processes[0]), syscalls(processes[1]), slow);
  for (const process of processes) await process.exit();
  const busy = await kill_sb(slow);
  const told: string[] = [];
  await fsck(task, device, (line) => told.push(line));
  return [result, busy, told];
}

/** A task of the kernel's own, which makes no system call. */
export function kthread(sb: SuperBlock, comm: string): Task {
  return new Task(sb.sched, sb.machine.validator, { comm });
}

/** A file of so many pages, each with its number, on the device and not in memory. */
export async function cold(sys: Syscalls, sb: SuperBlock, name: string, pages: number): Promise<number> {
  const fd = await sys.open(name, O_CREAT | O_RDWR, 0o644);
  for (let i = 0; i < pages; i++) await sys.pwrite(fd, Buffer.alloc(P, i + 1), i * P);
  await sys.fsync(fd);
  await drop_caches(kthread(sb, 'drop_caches'), sb, DROP_PAGECACHE);
  return fd;
}

const contents = async (sys: Syscalls, fd: number): Promise<number> => sum(await sys.pread(fd, MIB, 0));

export const SLOW: readonly Scene[] = [
  {
    name: 'a slow device: reads',
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, other, slow) => {
        const fd = await cold(sys, slow, '/f', 24);
        const second = await other.open('/f', O_RDWR);
        // Two want the same pages, one of them is cut away meanwhile, and one is written to.
        const same = await Promise.all([contents(sys, fd), contents(other, second)]);
        await drop_caches(kthread(slow, 'drop_caches'), slow, DROP_PAGECACHE);
        const [, , read] = await Promise.all([
          sys.pread(fd, 6 * P, 0),
          other.ftruncate(second, 10 * P),
          sys.pread(fd, P, 9 * P),
          other.pwrite(second, Buffer.from('new'), 2 * P + 5),
        ]);
        return [same, sum(read), await contents(sys, fd), (await sys.fstat(fd)).size];
      }),
  },
  {
    name: 'a slow device: writes',
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, other, slow) => {
        const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
        const second = await other.open('/f', O_RDWR);
        const whole = Buffer.alloc(16 * P, 7);
        await sys.pwrite(fd, whole, 0);
        // Written again, cut, and punched while it is being written.
        await Promise.all([sys.fsync(fd), other.pwrite(second, Buffer.alloc(P, 9), 3 * P), other.fsync(second)]);
        const early = await contents(sys, fd);
        await sys.pwrite(fd, whole, 0);
        await Promise.all([
          sys.fsync(fd),
          other.ftruncate(second, 5 * P + 100),
          sys.pwrite(fd, Buffer.alloc(50, 3), 0),
        ]);
        await sys.pwrite(fd, whole, P);
        await Promise.all([
          sys.fsync(fd),
          other.fallocate(second, 3, 2 * P, 4 * P),
          sync_filesystem(kthread(slow, 'sync'), slow),
        ]);
        await drop_caches(kthread(slow, 'drop_caches'), slow, DROP_PAGECACHE | DROP_SLAB);
        return [early, await contents(sys, fd), (await sys.fstat(fd)).size];
      }),
  },
  {
    name: 'a slow device: direct I/O',
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, other, slow) => {
        const fd = await cold(sys, slow, '/f', 16);
        const direct = await other.open('/f', O_RDWR | O_DIRECT);
        // The blocks of a direct read or write under way go neither to nobody nor to another file.
        await Promise.all([other.pwrite(direct, Buffer.alloc(8 * P, 0x77), 4 * P), sys.ftruncate(fd, 2 * P)]);
        const grown = await sys.open('/g', O_CREAT | O_RDWR, 0o644);
        await sys.pwrite(grown, Buffer.alloc(16 * P, 1), 0);
        await sys.fsync(grown);
        const cut = (await sys.fstat(fd)).size;
        await sys.pwrite(fd, Buffer.alloc(12 * P, 5), 0);
        await sys.fsync(fd);
        await Promise.all([other.pread(direct, 8 * P, 0), sys.fallocate(fd, 3, P, 6 * P)]);
        await Promise.all([other.pwrite(direct, Buffer.alloc(2 * P, 8), 0), sys.pwrite(fd, Buffer.alloc(P, 9), 3 * P)]);
        const seen = [(await sys.pread(fd, 1, 0))[0], (await sys.pread(fd, 1, 3 * P))[0]];
        return [cut >= 2 * P, await contents(sys, grown), seen];
      }),
  },
  {
    name: 'a slow device: what goes while it is written',
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, other, slow) => {
        const results: unknown[] = [];
        for (let i = 0; i < 4; i++) {
          const fd = await sys.open(`/f${i}`, O_CREAT | O_RDWR, 0o644);
          await sys.pwrite(fd, Buffer.alloc(10 * P, i), 0);
          const written = sync_filesystem(kthread(slow, 'sync'), slow);
          await slow.sched.yield();
          await Promise.all([sys.close(fd), said(other.unlink(`/f${i}`)), drop_caches(kthread(slow, 'drop'), slow, 3)]);
          await written;
          results.push(await said(sys.stat(`/f${i}`)));
        }
        const fd = await sys.open('/cut', O_CREAT | O_RDWR, 0o644);
        await sys.pwrite(fd, Buffer.alloc(10 * P, 4), 0);
        const written = sync_filesystem(kthread(slow, 'sync'), slow);
        await slow.sched.yield();
        await Promise.all([sys.ftruncate(fd, 2 * P), written]);
        results.push(await contents(sys, fd));
        await sys.mkdir('/d', 0o755);
        const names = ['a', 'b', 'c'].map((name) => `/d/${name}`);
        await Promise.all(names.map((name) => sys.mknod(name, 0o100644)));
        await drop_caches(kthread(slow, 'drop'), slow, DROP_SLAB | DROP_PAGECACHE);
        const seen = await Promise.all([...names, ...names].map((name, i) => said((i < 3 ? sys : other).stat(name))));
        return [results, seen.map((stat) => (typeof stat === 'string' ? stat : stat.mode))];
      }),
  },
];
