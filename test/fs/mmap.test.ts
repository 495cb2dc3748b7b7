/** Processes of ours that map and swap to files of latch: every byte as Linux has it, and no rule broken. */

import t, { type Test } from 'tap';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { compact_memory } from '../../src/mm/compaction.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { memory_failure } from '../../src/mm/memory-failure.js';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from '../../src/uapi/falloc.js';
import { O_CREAT, O_RDWR, O_WRONLY } from '../../src/uapi/fcntl.js';
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  MS_SYNC,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from '../../src/uapi/mman.js';
import { newWorld, outcome, user, type World } from './world.js';

const P = PAGE_SIZE;
const RW = PROT_READ | PROT_WRITE;

async function inProcess(
  t: Test,
  body: (sys: Syscalls, process: Process, world: World) => Promise<void>,
  options: Parameters<typeof newWorld>[0] = {},
): Promise<void> {
  const world = await newWorld(options);
  const process = new Process(world.sb, { umask: 0 });
  await body(syscalls(process), process, world);
  await process.exit();
  t.equal(await world.end(), 0, 'nothing is in use after the test');
  t.equal(world.machine.memory.mms.size, 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
    'no rule was broken',
  );
}

/** What a call fails with: the errno, or the signal. */
async function failure(body: () => Promise<unknown>): Promise<string> {
  try {
    await body();
    return 'ok';
  } catch (error) {
    return error instanceof Error && 'signal' in error ? String(error.signal) : outcome(() => Promise.reject(error));
  }
}

t.test('a mapping of a hole: reading is zeroes, a store takes a block', (t) =>
  inProcess(t, async (sys) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o600);
    await sys.ftruncate(fd, 4 * P);
    const at = await sys.mmap(0, 4 * P, RW, MAP_SHARED, fd);
    t.ok((await sys.load(at, P)).equals(Buffer.alloc(P)));
    t.equal((await sys.fstat(fd)).blocks, 0);
    await sys.store(at + P, Buffer.from('stored'));
    t.equal((await sys.fstat(fd)).blocks, 8, 'one block of the file system');
    await sys.msync(at, 4 * P, MS_SYNC);
    t.equal((await sys.pread(fd, 6, P)).toString(), 'stored');
    await sys.close(fd);
    t.equal((await sys.load(at + P, 6)).toString(), 'stored', 'a mapping outlives its descriptor');
    await sys.munmap(at, 4 * P);
    t.equal(await failure(() => sys.load(at, 1)), 'SIGSEGV');
  }),
);

t.test('truncation and holes through another descriptor', (t) =>
  inProcess(t, async (sys) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o600);
    await sys.pwrite(fd, Buffer.alloc(4 * P, 'x'), 0);
    const at = await sys.mmap(0, 4 * P, RW, MAP_SHARED, fd);
    const own = await sys.mmap(0, 4 * P, RW, MAP_PRIVATE, fd);
    await sys.store(own + 3 * P, Buffer.from('private'));
    await sys.load(at + 3 * P, 1);
    await sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, P, P);
    t.ok((await sys.load(at + P, P)).equals(Buffer.alloc(P)));
    await sys.ftruncate(fd, 2 * P + 10);
    t.equal(await failure(() => sys.load(at + 3 * P, 1)), 'SIGBUS');
    t.equal(await failure(() => sys.load(own + 3 * P, 1)), 'SIGBUS', 'a private copy goes too');
    t.ok((await sys.load(at + 2 * P + 10, 100)).equals(Buffer.alloc(100)), 'behind the end in the last page: zeroes');
    await sys.store(at + 2 * P + 20, Buffer.from('beyond'));
    await sys.ftruncate(fd, 4 * P);
    t.ok((await sys.pread(fd, 100, 2 * P + 10)).equals(Buffer.alloc(100)), 'what is stored there is not the file');
    await sys.ftruncate(fd, 2 * P + 10);
    await sys.store(at + 2 * P + 10, Buffer.alloc(100, 'b'));
    await sys.pwrite(fd, Buffer.from('w'), 2 * P + 50);
    const grown = Buffer.alloc(41);
    grown.write('w', 40);
    t.ok((await sys.pread(fd, 100, 2 * P + 10)).equals(grown), 'nor where a write leaves a gap');
  }),
);

t.test('who may map what', (t) =>
  inProcess(t, async (sys, process, world) => {
    const writeOnly = await sys.open('/f', O_CREAT | O_WRONLY, 0o600);
    const readOnly = await sys.open('/f', 0);
    const directory = await sys.open('/', 0);
    await sys.ftruncate(writeOnly, P);
    t.equal(await failure(() => sys.mmap(0, P, PROT_READ, MAP_SHARED, writeOnly)), 'EACCES');
    t.equal(await failure(() => sys.mmap(0, P, RW, MAP_SHARED, readOnly)), 'EACCES');
    t.equal(await failure(() => sys.mmap(0, P, PROT_READ, MAP_SHARED, directory)), 'ENODEV');
    t.equal(await failure(() => sys.mmap(0, P, PROT_EXEC, MAP_SHARED, directory)), 'EACCES');
    t.equal(await failure(() => sys.mmap(0, P, PROT_READ, MAP_SHARED, 99)), 'EBADF');
    const at = await sys.mmap(0, P, RW, MAP_PRIVATE, readOnly);
    await sys.store(at, Buffer.from('copy'));
    t.ok((await sys.pread(readOnly, 4, 0)).equals(Buffer.alloc(4)));
    const shared = await sys.mmap(0, P, PROT_READ, MAP_SHARED, readOnly);
    t.equal(await failure(() => sys.mprotect(shared, P, RW)), 'EACCES');
    const other = new Process(world.sb, { cred: user(1000) });
    t.equal(await failure(() => syscalls(other).peek(process, at, 4)), 'EPERM');
    await other.exit();
    const child = process.fork();
    t.equal((await syscalls(child).peek(process, at, 4)).toString(), 'copy');
    t.equal(await syscalls(child).poke(process, at, Buffer.from('poked')), 5);
    t.equal((await sys.load(at, 5)).toString(), 'poked');
    await child.exit();
  }),
);

t.test('no room on the device is SIGBUS, and the file is as it was', (t) =>
  inProcess(
    t,
    async (sys) => {
      const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o600);
      await sys.ftruncate(fd, 64 * 2 ** 20);
      const at = await sys.mmap(0, 64 * 2 ** 20, RW, MAP_SHARED, fd);
      let page = 0;
      let ended = 'ok';
      for (; page < 16_384 && ended === 'ok'; page++)
        ended = await failure(() => sys.store(at + page * P, Buffer.from('x')));
      t.equal(ended, 'SIGBUS', `after ${page} pages`);
      t.equal((await sys.pread(fd, 1, 0)).toString(), 'x');
      await sys.munmap(at, 64 * 2 ** 20);
      await sys.close(fd);
      await sys.unlink('/f');
    },
    { size: 4 * 2 ** 20 },
  ),
);

t.test('swapping to a file', (t) =>
  inProcess(
    t,
    async (sys, process, world) => {
      const fd = await sys.open('/swap', O_CREAT | O_RDWR, 0o600);
      await sys.ftruncate(fd, 8 * 2 ** 20);
      t.equal(await failure(() => sys.swapon(fd)), 'EINVAL', 'a file of holes');
      await sys.fallocate(fd, 0, 0, 8 * 2 ** 20);
      await sys.swapon(fd);
      t.equal(await failure(() => sys.swapon(fd)), 'EBUSY');
      t.equal(await failure(() => sys.pwrite(fd, Buffer.from('x'), 0)), 'ETXTBSY');
      t.equal(await failure(() => sys.ftruncate(fd, 0)), 'ETXTBSY');
      const pages = 1000;
      const at = await sys.mmap(0, pages * P, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
      for (let page = 0; page < pages; page++) await sys.store(at + page * P, Buffer.alloc(P, `page ${page} `));
      const [area] = world.machine.memory.swap;
      t.ok((area?.inuse_pages ?? 0) > 300, `${area?.inuse_pages} pages in swap`);
      const child = process.fork();
      let wrong = 0;
      for (let page = 0; page < pages; page++) {
        if (!(await sys.load(at + page * P, P)).equals(Buffer.alloc(P, `page ${page} `))) wrong++;
      }
      t.equal(wrong, 0);
      await child.exit();
      await sys.munmap(at + 100 * P, (pages - 100) * P);
      const both = await Promise.all([failure(() => sys.swapoff(fd)), failure(() => sys.swapoff(fd))]);
      t.same(both, ['ok', 'EINVAL'], 'by one of two who want to');
      t.equal(await failure(() => sys.swapoff(fd)), 'EINVAL');
      t.equal((await sys.load(at + 99 * P, 7)).toString(), 'page 99');
      await sys.pwrite(fd, Buffer.from('x'), 0);
    },
    { memory: 2 * 2 ** 20 },
  ),
);

t.test('compaction and broken memory under a mapped file', (t) =>
  inProcess(t, async (sys, _process, world) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o600);
    await sys.pwrite(fd, Buffer.alloc(8 * P, 'f'), 0);
    await sys.fsync(fd);
    const at = await sys.mmap(0, 8 * P, RW, MAP_SHARED, fd);
    await sys.store(at, Buffer.from('dirty'));
    await world.run((task) => compact_memory(task, world.machine.memory));
    t.equal((await sys.load(at, 6)).toString(), 'dirtyf');
    const inode = [...world.sb.inodeHash.values()].find((candidate) => candidate.mappingIfAny?.i_mmap !== undefined);
    const folio = inode?.i_mapping.i_pages.load(3);
    if (folio === undefined) throw new Error('not cached');
    t.equal(await world.run((task) => memory_failure(task, folio)), 'recovered');
    t.equal((await sys.pread(fd, 1, 3 * P)).toString(), 'f', 'read again from the device');
  }),
);
