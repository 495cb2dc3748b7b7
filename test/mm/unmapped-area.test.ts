/** Where mappings go: huge entries need address and file to lie alike. */

import t from 'tap';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { MMAP_MIN_ADDR, TASK_SIZE } from '../../src/mm/mm-struct.js';
import { PMD_SIZE } from '../../src/mm/unmapped-area.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  POSIX_FADV_DONTNEED,
  POSIX_FADV_WILLNEED,
  PROT_READ,
} from '../../src/uapi/mman.js';
import { newWorld, opsCalled, outcome } from '../fs/world.js';
import { FakeFile, World } from './fake-file.js';
import { failureOf, Process as Space, TestVmFile } from './process.js';

const P = PAGE_SIZE;

t.test('a mapping that covers 2 MiB of its file lies in the address space as in the file', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  const map = (length: number, page: number): Promise<number> =>
    sys.mmap(0, length, PROT_READ, MAP_SHARED, fd, page * P);
  const small = await map(3 * P, 8);
  const next = await map(PMD_SIZE, 8);
  t.equal(next, small - PMD_SIZE, 'one that covers no whole piece needs no place of its own');
  for (const page of [0, 8, 511, 512, 513]) {
    const at = await map(2 * PMD_SIZE, page);
    t.equal(at % PMD_SIZE, (page % 512) * P, `from page ${page} on`);
  }
  const called = await opsCalled(world, () => map(P, 0));
  t.ok(called.includes('get_unmapped_area'), 'the file is asked');
  const fresh = await sys.mmap(0, 2 * PMD_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  t.equal(fresh % PMD_SIZE, 0, 'fresh memory too');
  const odd = await sys.mmap(0, PMD_SIZE + P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  t.equal(odd, fresh - PMD_SIZE - P, 'but not where it is no multiple of 2 MiB');
  const hint = 0x10000000 + P;
  t.equal(await sys.mmap(hint, PMD_SIZE, PROT_READ, MAP_SHARED, fd), hint, 'a hint that is free is taken as it is');
  t.not(await sys.mmap(hint, PMD_SIZE, PROT_READ, MAP_SHARED, fd), hint);
  await process.exit();
  t.same(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('an answer that is no address is refused', async (t) => {
  const world = new World();
  const process = new Space(world);
  const file = new TestVmFile(new FakeFile(world));
  file.get_unmapped_area = () => MMAP_MIN_ADDR + 1;
  t.equal(await failureOf(process.mmap(file, P)), 'EINVAL');
  file.get_unmapped_area = () => TASK_SIZE;
  t.equal(await failureOf(process.mmap(file, P)), 'ENOMEM');
  t.equal(await failureOf(process.mmap(undefined, 2 ** 48, MAP_PRIVATE | MAP_ANONYMOUS)), 'ENOMEM');
});

t.test('advice goes to the file, and pages that are wanted come under i_rwsem', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(20 * P, 'x'));
  await sys.fsync(fd);
  await sys.fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  const { ino } = await sys.fstat(fd);
  const inode = world.sb.inodeHash.get(ino);
  t.equal(inode?.i_mapping.nrpages, 0);
  const called = await opsCalled(world, () => sys.fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
  t.ok(called.includes('fadvise') && called.includes('readahead'));
  t.equal(inode?.i_mapping.nrpages, 20);
  await sys.fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  let waited = true;
  const advised = await world.run(async (task) => {
    using _writer = await inode?.i_rwsem.write(task);
    const advising = sys.fadvise(fd, 0, 0, POSIX_FADV_WILLNEED).then(() => {
      waited = false;
    });
    for (let i = 0; i < 5; i++) await world.machine.sched.yield();
    t.ok(waited, 'not while somebody changes the file');
    return { advising };
  });
  await advised.advising;
  t.equal(inode?.i_mapping.nrpages, 20);
  t.equal(await outcome(() => sys.fadvise(fd, 0, 0, 99)), 'EINVAL');
  await process.exit();
  t.same(await world.end(), 0);
  t.same(world.violations, []);
});
