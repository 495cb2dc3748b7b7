/** What lies behind the end of a file in its last block, when the file goes on behind a gap. */
import t from 'tap';
import { submit_bio_wait } from '../../src/block/bio.js';
import { infoOf } from '../../src/latch/info.js';
import { latchInode } from '../../src/latch/inode.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { opsCalled } from '../fs/world.js';
import { ended, type Opened, opened } from './opened.js';

const P = PAGE_SIZE;
const SIZE = P + 700;
const DONTNEED = 4;

/** A file of SIZE bytes whose last block holds more on the device, as after a crash that came before the size. */
async function cutOff(): Promise<Opened> {
  const o = await opened();
  const { sys, world, cached } = o;
  await sys.pwrite(cached, Buffer.alloc(SIZE, 'old '), 0);
  await sys.fsync(cached);
  await sys.fadvise(cached, 0, 0, DONTNEED);
  const inode = world.sb.inodeHash.get((await sys.fstat(cached)).ino);
  if (inode === undefined) throw new Error('no inode');
  const extent = await world.run((task) => latchInode(inode).extents.find(task, 1));
  if (extent === undefined) throw new Error('no block');
  const block = Buffer.alloc(P, 'STALE');
  Buffer.alloc(SIZE - P, 'old ').copy(block);
  const sector = (extent.physical + 1 - extent.logical) * 8;
  const { bdev } = infoOf(world.sb);
  await world.run((task) => submit_bio_wait(task, bdev, { op: 'write', sector, vecs: [block], length: P }));
  return o;
}

for (const [name, pos] of [
  ['in the same page', P + 2000],
  ['in another page', 3 * P + 5],
] as const) {
  t.test(`a gap that ends ${name} is zeroes`, async (t) => {
    const o = await cutOff();
    const { sys, cached } = o;
    const expected = Buffer.alloc(pos + 10, 0);
    Buffer.alloc(SIZE, 'old ').copy(expected);
    expected.fill('n', pos);
    await sys.pwrite(cached, Buffer.alloc(10, 'n'), pos);
    t.ok((await sys.pread(cached, 8 * P, 0)).equals(expected));
    await sys.fsync(cached);
    await sys.fadvise(cached, 0, 0, DONTNEED);
    t.ok((await sys.pread(cached, 8 * P, 0)).equals(expected), 'on the device, too');
    t.same(await ended(o), [0]);
  });
}

t.test('what a mapping has stored behind the end is not seen behind a gap', async (t) => {
  const o = await opened();
  const { sys, cached } = o;
  await sys.pwrite(cached, Buffer.alloc(700, 'old '), 0);
  const at = await sys.mmap(0, P, 3, 1, cached, 0);
  await sys.store(at + 1000, Buffer.from('stored'));
  await sys.pwrite(cached, Buffer.from('n'), 2 * P);
  const seen = await sys.pread(cached, 3 * P, 0);
  t.ok(seen.subarray(700, 2 * P).equals(Buffer.alloc(2 * P - 700)));
  t.same(await ended(o), [0]);
});

t.test('a gap behind an end that has only zeroes behind it costs no I/O', async (t) => {
  const o = await opened();
  const { sys, world, cached } = o;
  await sys.pwrite(cached, Buffer.alloc(SIZE, 'old '), 0);
  await sys.fsync(cached);
  const called = await opsCalled(world, () => sys.pwrite(cached, Buffer.from('n'), 3 * P));
  t.notOk(called.includes('writepages'));
  t.ok(called.includes('write_begin'));
  t.same(await ended(o), [0]);
});
