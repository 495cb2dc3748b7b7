/** Cutting files while somebody reads them. */
import t from 'tap';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { POSIX_FADV_DONTNEED } from '../../src/uapi/mman.js';
import { inodeOf, newWorld } from './world.js';

const PAGE = 4096;

t.test('who began to read before may bring a page back behind the end', async (t) => {
  const world = await newWorld();
  const [one, other] = [new Process(world.sb), new Process(world.sb)];
  const [cuts, reads] = [syscalls(one), syscalls(other)];
  const fd = await cuts.open('/f', O_CREAT | O_RDWR, 0o644);
  await cuts.write(fd, Buffer.alloc(2 * PAGE, 7));
  await cuts.fsync(fd);
  await cuts.fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  const reading = await reads.open('/f', O_RDWR);
  const { i_mapping: mapping } = inodeOf(one.files.get(fd).f_dentry);
  t.equal(mapping.nrpages, 0, 'nothing is cached');
  const holder = world.task();
  const held = await mapping.invalidate_lock.write(holder);
  const cut = cuts.ftruncate(fd, 100);
  // It has locked the file and waits for the pages; the reader looks at the size, which is the old one still, and waits behind.
  await new Promise(setImmediate);
  const read = reads.pread(reading, PAGE, PAGE);
  await new Promise(setImmediate);
  held.release();
  await cut;
  t.same(world.violations, []);
  t.equal((await read).length, 0);
  await cuts.ftruncate(fd, 2 * PAGE);
  t.same(await reads.pread(reading, PAGE, PAGE), Buffer.alloc(PAGE), 'it has nothing of what was cut off');
  await one.exit();
  await other.exit();
  await world.end();
});
