/** Mappings without translation of addresses, and what mmap refuses whatever the machine. */

import t from 'tap';
import { memoryDevice, type SparseMemory } from '../../src/block/memory-device.js';
import { def_blk_fops } from '../../src/fs/block-dev.js';
import { add_disk } from '../../src/fs/disks.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { NOMMU_MAP_COPY, NOMMU_MAP_DIRECT, NOMMU_MAP_READ } from '../../src/mm/nommu.js';
import { shrink_node } from '../../src/mm/vmscan.js';
import { errno } from '../../src/sched/errno.js';
import { O_APPEND, O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { FS_IOC_SETFLAGS } from '../../src/uapi/ioctl.js';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.js';
import { newWorld, opsCalled, outcome } from './world.js';

const P = PAGE_SIZE;
const MIB = 2 ** 20;
const RW = PROT_READ | PROT_WRITE;

async function machine() {
  const world = await newWorld();
  const disk = memoryDevice(4 * MIB, world.machine.sched, world.machine.validator);
  const process = new Process(world.sb, { mmu: false });
  const sys = syscalls(process);
  await sys.mknod('/disk', 0o060600, add_disk(world.machine, disk));
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(P + 100, 'file'));
  const end = async (): Promise<readonly unknown[]> => {
    await process.exit();
    return [await world.end(), ...world.violations.map(({ message }) => message)];
  };
  return { world, disk, process, sys, fd, node: await sys.open('/disk', O_RDWR), end };
}

t.test('a file is copied into memory of its own, all of it at once', async (t) => {
  const { world, sys, fd, end } = await machine();
  const at = await sys.mmap(0, 2 * P, RW, MAP_PRIVATE, fd);
  await sys.pwrite(fd, Buffer.from('later'), 0);
  t.same(
    await opsCalled(world, async () => t.equal((await sys.load(at, 8)).toString(), 'filefile')),
    [],
    'nothing faults',
  );
  t.equal((await sys.load(at + P + 98, 4)).toString('latin1'), 'le\0\0', 'zeroes behind the end');
  await sys.store(at + 2, Buffer.from('XX'));
  t.equal((await sys.load(at, 6)).toString(), 'fiXXfi');
  t.equal((await sys.pread(fd, 5, 0)).toString(), 'later');
  const odd = await sys.mmap(0, P, PROT_READ, MAP_PRIVATE, fd, P);
  t.equal((await sys.load(odd, 4)).toString(), 'file', 'from a page on');
  t.equal(await outcome(() => sys.mmap(0, P, PROT_READ, MAP_SHARED, fd)), 'ENODEV', 'a copy cannot be shared');
  const fresh = await sys.mmap(0, 3 * P, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  await sys.store(fresh, Buffer.alloc(3 * P, 'm'));
  const { memory } = world.machine;
  for (let pass = 0; pass < 3; pass++) await world.run((task) => shrink_node(task, memory, memory.nr_pages, 0));
  t.ok((await sys.load(fresh, 3 * P)).equals(Buffer.alloc(3 * P, 'm')), 'it is there to stay');
  t.equal(await outcome(() => sys.munmap(at, P)), 'EINVAL', 'not a part of a file');
  const both = await Promise.all([outcome(() => sys.munmap(at, 2 * P)), outcome(() => sys.munmap(at, 2 * P))]);
  t.same(both, ['ok', 'EINVAL'], 'what is there is seen under the lock');
  t.match(await outcome(() => sys.load(at, 1)), /SIGSEGV/);
  t.equal(await outcome(() => sys.munmap(at, 2 * P)), 'EINVAL');
  await sys.munmap(fresh + 2 * P, P);
  t.equal(await sys.mremap(fresh, 2 * P, P), fresh);
  t.equal(await outcome(() => sys.mremap(fresh, P, 2 * P)), 'ENOMEM');
  t.equal(await outcome(() => sys.mremap(fresh, 2 * P, P)), 'EFAULT');
  t.equal(await outcome(() => sys.mremap(fresh + P, P, P)), 'EINVAL');
  for (const call of [() => sys.mprotect(fresh, P, 0), () => sys.msync(fresh, P, 4), () => sys.madvise(fresh, P, 4)])
    t.equal(await outcome(call), 'ENOSYS');
  t.equal(await outcome(() => sys.mmap(fresh, P, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1)), 'EINVAL');
  t.equal(await outcome(() => sys.mmap(0, 0, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1)), 'EINVAL');
  t.equal(await outcome(() => sys.mmap(0, P, RW, MAP_ANONYMOUS, -1)), 'EINVAL');
  t.equal(await outcome(() => sys.mmap(0, 1 << 30, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1)), 'ENOMEM');
  t.same(await end(), [0]);
});

t.test('memory that lies in one piece is mapped where it is', async (t) => {
  const { world, disk, sys, node, process, end } = await machine();
  const called = await opsCalled(world, async () => {
    const at = await sys.mmap(0, 2 * P, RW, MAP_SHARED, node, MIB);
    await sys.store(at + P, Buffer.from('direct'));
  });
  t.same(called.slice(0, 3), ['mmap_capabilities', 'get_unmapped_area', 'mmap']);
  t.equal(called.filter((op) => op === 'pfn_mkwrite').length, 2, 'both pages, at once');
  t.equal((await sys.pread(node, 6, MIB + P)).toString(), 'direct');
  const copy = await sys.mmap(0, P, RW, MAP_PRIVATE, node, MIB + P);
  await sys.store(copy, Buffer.from('copied'));
  t.equal((await sys.pread(node, 6, MIB + P)).toString(), 'direct', 'a private mapping that is written to is a copy');
  const looks = await sys.mmap(0, P, PROT_READ, MAP_PRIVATE, node, MIB + P);
  await sys.pwrite(node, Buffer.from('DI'), MIB + P);
  t.equal((await sys.load(looks, 6)).toString(), 'DIrect', 'one that is not, is not');
  t.equal(disk.direct_users, 2);
  t.equal(await outcome(() => sys.mremap(looks, P, P)), 'ok');
  t.equal(
    await outcome(() => sys.mmap(0, 2 * P, PROT_READ, MAP_SHARED, node, 4 * MIB - P)),
    'EINVAL',
    'beyond the end',
  );
  t.equal(disk.direct_users, 2, 'nothing is left of that');
  await process.exit();
  t.equal(disk.direct_users, 0);
  t.equal((disk.queue.driver as SparseMemory).storedBytes, P);
  t.same(await end(), [0]);
});

t.test('what the file says decides', async (t) => {
  const { sys, node, end } = await machine();
  const ops: { -readonly [K in keyof typeof def_blk_fops]: (typeof def_blk_fops)[K] } = def_blk_fops;
  const { mmap_capabilities, get_unmapped_area, mmap } = ops;
  t.teardown(() => Object.assign(ops, { mmap_capabilities, get_unmapped_area, mmap }));
  const map = (prot: number, flags: number): Promise<string> => outcome(() => sys.mmap(0, P, prot, flags, node));
  ops.mmap_capabilities = () => NOMMU_MAP_DIRECT | NOMMU_MAP_READ;
  t.equal(await map(RW, MAP_SHARED), 'EINVAL', 'it may not be written where it is');
  t.equal(await map(PROT_READ, MAP_SHARED), 'ok');
  t.equal(await map(PROT_READ, MAP_PRIVATE), 'ENODEV', 'it cannot be copied');
  ops.mmap_capabilities = () => NOMMU_MAP_DIRECT | NOMMU_MAP_COPY;
  t.equal(await map(PROT_READ, MAP_PRIVATE), 'ok', 'then a copy');
  ops.mmap_capabilities = () => NOMMU_MAP_DIRECT | NOMMU_MAP_READ | NOMMU_MAP_COPY;
  ops.get_unmapped_area = () => {
    throw errno('ENOSYS');
  };
  t.equal(await map(PROT_READ, MAP_SHARED), 'ENODEV', 'it does not say where it is');
  t.equal(await map(PROT_READ, MAP_PRIVATE), 'ok');
  delete ops.get_unmapped_area;
  t.equal(await map(PROT_READ, MAP_SHARED), 'ENODEV');
  delete ops.mmap;
  t.equal(await map(PROT_READ, MAP_PRIVATE), 'ENODEV');
  t.same(await end(), [0]);
});

t.test('a file that is only appended to, and one that is swapped to, are not mapped to be written', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(16 * P));
  await sys.fsync(fd);
  await sys.swapon(fd);
  t.equal(await outcome(() => sys.mmap(0, P, RW, MAP_SHARED, fd)), 'ETXTBSY');
  t.equal(await outcome(() => sys.mmap(0, P, PROT_READ, MAP_SHARED, fd)), 'ok');
  await sys.swapoff(fd);
  await sys.ioctl(fd, FS_IOC_SETFLAGS, Buffer.from([0x20, 0, 0, 0]));
  const append = await sys.open('/f', O_RDWR | O_APPEND);
  t.equal(await outcome(() => sys.mmap(0, P, PROT_READ, MAP_SHARED, append)), 'EACCES');
  t.equal(await outcome(() => sys.mmap(0, P, RW, MAP_PRIVATE, append)), 'ok');
  t.equal(await outcome(async () => sys.mmap(0, P, PROT_READ, MAP_SHARED, await sys.open('/f', 0))), 'ok');
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});
