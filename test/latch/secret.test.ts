/** chattr +s: what a page held is nowhere in memory when it has left the cache. */

import t from 'tap';
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../src/fs/drop-caches.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { compact_memory } from '../../src/mm/compaction.js';
import { type Folio, folio_get, folio_put, PAGE_SIZE } from '../../src/mm/folio.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../src/uapi/ioctl.js';
import { newWorld, opsCalled, type World } from '../fs/world.js';

const P = PAGE_SIZE;
const SECRET = Buffer.from([1, 0, 0, 0]);
const PLAIN = Buffer.alloc(4);

async function pagesOf(world: World, sys: Syscalls, name: string): Promise<Folio[]> {
  const { ino } = await sys.stat(name);
  return world.sb.inodeHash.get(ino)?.i_mapping.i_pages.collect(0, 1 << 20, 1 << 20) ?? [];
}

/** The bytes that pages lie in, whoever has them. */
function memoryOf(world: World, folios: readonly Folio[]): Buffer[] {
  return folios.map(({ pfn }) => world.machine.memory.pool.view(pfn));
}

const holds = (pages: readonly Buffer[], text: string): boolean => pages.some((page) => page.includes(text));

t.test('a deleted file leaves nothing in memory', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const make = async (name: string, flags: Buffer): Promise<Buffer[]> => {
    const fd = await sys.open(name, O_CREAT | O_RDWR, 0o600);
    await sys.write(fd, Buffer.alloc(2 * P, `content of ${name} `));
    // The pages that are there already count.
    await sys.ioctl(fd, FS_IOC_SETFLAGS, flags);
    await sys.write(fd, Buffer.alloc(2 * P, `content of ${name} `));
    t.equal((await sys.ioctl(fd, FS_IOC_GETFLAGS, Buffer.alloc(4))).readUInt32LE(), flags.readUInt32LE());
    await sys.close(fd);
    return memoryOf(world, await pagesOf(world, sys, name));
  };
  const plain = await make('/plain', PLAIN);
  const secret = await make('/secret', SECRET);
  t.ok(holds(plain, 'content of /plain') && holds(secret, 'content of /secret'));
  const called = await opsCalled(world, () => sys.unlink('/secret'));
  t.equal(called.filter((op) => op === 'free_folio').length, 4);
  t.notOk(holds(secret, 'content of'), 'wiped');
  t.notOk((await opsCalled(world, () => sys.unlink('/plain'))).includes('free_folio'), 'nobody is asked about others');
  t.ok(holds(plain, 'content of /plain'), 'others are not');
  const again = await sys.open('/again', O_CREAT | O_RDWR, 0o600);
  await sys.ioctl(again, FS_IOC_SETFLAGS, SECRET);
  await sys.close(again);
  await sys.sync();
  await world.run((task) => drop_caches(task, world.sb, DROP_PAGECACHE | DROP_SLAB));
  const reopened = await sys.open('/again', O_RDWR);
  await sys.write(reopened, Buffer.alloc(P, 'x'));
  const truncated = await opsCalled(world, () => sys.ftruncate(reopened, 0));
  t.ok(truncated.includes('free_folio'), 'the flag is on the device');
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('nor does one whose pages go for lack of memory, or move', async (t) => {
  const world = await newWorld();
  const { memory } = world.machine;
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/s', O_CREAT | O_RDWR, 0o600);
  await sys.ioctl(fd, FS_IOC_SETFLAGS, SECRET);
  await sys.write(fd, Buffer.alloc(600 * P, 'top secret '));
  await sys.fsync(fd);
  const drop = (): Promise<unknown> => world.run((task) => drop_caches(task, world.sb, DROP_PAGECACHE));
  await sys.fallocate(fd, 3, 20 * P, 200 * P);
  const before = memoryOf(world, await pagesOf(world, sys, '/s'));
  t.ok((await world.run((task) => compact_memory(task, memory))).moved > 0);
  const after = memoryOf(world, await pagesOf(world, sys, '/s'));
  t.notOk(
    holds(
      before.filter(
        (page) => !after.some((other) => other.buffer === page.buffer && other.byteOffset === page.byteOffset),
      ),
      'top secret',
    ),
    'what was moved from is wiped',
  );
  const [first] = await pagesOf(world, sys, '/s');
  if (first === undefined) throw new Error('no page');
  folio_get(first);
  await sys.ftruncate(fd, 0);
  t.notOk(holds(after.slice(1), 'top secret'));
  t.ok(first.data.includes('top secret'), 'who still reads reads it');
  const [bytes] = memoryOf(world, [first]);
  folio_put(first);
  t.notOk(bytes?.includes('top secret'), 'with him it goes');
  await sys.pwrite(fd, Buffer.alloc(2 * P, 'top secret '), 0);
  await sys.fsync(fd);
  await drop();
  await sys.pread(fd, P, 0);
  const read = memoryOf(world, await pagesOf(world, sys, '/s'));
  t.ok(holds(read, 'top secret'));
  await drop();
  t.notOk(holds(read, 'top secret'), 'pages that were read are wiped too');
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});
