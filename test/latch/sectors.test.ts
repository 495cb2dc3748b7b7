/** Pages that the device cannot read whole, and dirty pages in the way of a direct write. */

import t from 'tap';
import { DROP_PAGECACHE, drop_caches } from '../../src/fs/drop-caches.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { folio_mark_dirty } from '../../src/mm/folio-state.js';
import { invalidate_inode_pages2_range } from '../../src/mm/invalidate.js';
import { O_CREAT, O_DIRECT, O_RDWR } from '../../src/uapi/fcntl.js';
import { FIBMAP } from '../../src/uapi/ioctl.js';
import { newWorld, opsCalled, outcome } from '../fs/world.js';

const P = PAGE_SIZE;

t.test('who is told where a block is finds there what was written', async (t) => {
  const world = await newWorld();
  const { sb } = world;
  const process = new Process(sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  const { ino } = await sys.fstat(fd);
  const pages = sb.inodeHash.get(ino)?.i_mapping.i_pages;
  const blockOf = async (index: number): Promise<number> => {
    const asked = Buffer.alloc(4);
    asked.writeInt32LE(index);
    return (await sys.ioctl(fd, FIBMAP, asked)).readInt32LE(0);
  };
  await sys.write(fd, Buffer.alloc(2 * P, 'first'));
  const block = await blockOf(1);
  t.ok(block > 0, 'it has got its place');
  await sys.pwrite(fd, Buffer.alloc(P, 'second'), P);
  t.ok(pages?.marked('dirty'));
  t.equal(await blockOf(1), block);
  t.notOk(pages?.marked('dirty'), 'nothing is left that would be written there later');
  t.equal(await blockOf(5), 0, 'a hole');
  await sys.close(fd);
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('what lies beside a bad sector can be read', async (t) => {
  let bad = -1;
  const world = await newWorld({
    faults: ({ op, offset, length }) =>
      op === 'read' && bad >= offset && bad < offset + length ? { error: 'EIO' } : undefined,
  });
  const { sb } = world;
  const process = new Process(sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  const content = Buffer.alloc(8 * P, 'sector by sector ');
  await sys.write(fd, content);
  await sys.fsync(fd);
  const asked = Buffer.alloc(4);
  asked.writeInt32LE(3);
  const block = (await sys.ioctl(fd, FIBMAP, asked)).readInt32LE(0);
  const drop = (): Promise<unknown> => world.run((task) => drop_caches(task, sb, DROP_PAGECACHE));
  const same = async (pos: number, length: number): Promise<boolean> =>
    (await sys.pread(fd, length, pos)).equals(content.subarray(pos, pos + length));
  await drop();
  bad = block * P + 1100;
  t.ok(await same(0, 3 * P), 'the pages before');
  t.ok(await same(3 * P, 1024), 'up to the bad sector');
  t.equal(await outcome(() => sys.pread(fd, 10, 3 * P + 1100)), 'EIO');
  t.equal(await outcome(() => sys.pread(fd, 2, 3 * P + 1023)), 'EIO', 'not one byte of it');
  t.ok(await same(3 * P + 1536, P - 1536), 'from behind it on');
  t.ok((await opsCalled(world, () => same(3 * P + 2000, 100))).includes('is_partially_uptodate'));
  t.ok(await same(4 * P, 4 * P), 'the pages behind');
  t.equal((await sys.pread(fd, 8 * P, 0)).length, 3 * P, 'a long read ends before its page');
  const { ino } = await sys.fstat(fd);
  const mapping = sb.inodeHash.get(ino)?.i_mapping;
  t.ok(mapping?.i_pages.load(3)?.uptodate === false);
  const dropped = await opsCalled(world, drop);
  t.ok(dropped.includes('release_folio'), 'what is known of its sectors goes with it');
  t.equal(mapping?.nrpages, 0);
  await sys.pread(fd, 100, 3 * P);
  bad = -1;
  t.ok(await same(3 * P, P), 'a device that has got better is believed');
  t.equal(mapping?.i_pages.load(3)?.private, undefined);
  bad = block * P + 1100;
  await drop();
  await sys.pread(fd, 100, 3 * P);
  t.equal(
    await outcome(() => sys.pwrite(fd, Buffer.from('x'), 3 * P + 1100)),
    'EIO',
    'a part of a page needs the rest',
  );
  await sys.pwrite(fd, Buffer.alloc(P, 'n'), 3 * P);
  t.equal((await sys.pread(fd, 2, 3 * P + 1100)).toString(), 'nn', 'a whole one does not');
  await sys.fsync(fd);
  await sys.pread(fd, 100, 3 * P);
  await drop();
  await sys.pread(fd, 100, 3 * P);
  await sys.ftruncate(fd, 3 * P);
  t.equal(mapping?.i_pages.load(3), undefined);
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('a page that is dirtied again is written before it goes', async (t) => {
  let broken = false;
  const world = await newWorld({ faults: ({ op }) => (broken && op === 'write' ? { error: 'EIO' } : undefined) });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(4 * P, 'old'));
  const { ino } = await sys.fstat(fd);
  const mapping = world.sb.inodeHash.get(ino)?.i_mapping;
  if (mapping === undefined) throw new Error('no mapping');
  const drop = (): Promise<void> => world.run((task) => invalidate_inode_pages2_range(task, mapping, 0, 3));
  const called = await opsCalled(world, drop);
  t.equal(called.filter((op) => op === 'launder_folio').length, 4);
  t.equal(mapping.nrpages, 0);
  t.ok((await sys.pread(fd, 4 * P, 0)).equals(Buffer.alloc(4 * P, 'old')), 'promised blocks are given on the way');
  const dirty = (index: number): Promise<void> =>
    world.run(async (task) => {
      const folio = mapping.i_pages.load(index);
      using _lock = await folio?.lock.lock(task);
      if (folio !== undefined) folio_mark_dirty(task, folio);
    });
  await dirty(1);
  broken = true;
  t.equal(await outcome(drop), 'EIO');
  broken = false;
  t.ok(mapping.i_pages.load(1) !== undefined, 'what could not be written stays');
  await dirty(1);
  await drop();
  t.equal(mapping.nrpages, 0, 'and an old error is not held against it');
  t.equal(await outcome(() => sys.fsync(fd)), 'EIO', 'the file tells of it once');
  t.equal(await outcome(() => sys.fsync(fd)), 'ok');
  await sys.close(await sys.open('/f', O_RDWR | O_DIRECT));
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});
