/** Reads, writes and finding folios: what is synchronous, what waits, what fails. */
import { getHeapSpaceStatistics } from 'node:v8';
import t from 'tap';
import { mapping_seek_hole_data } from '../../src/mm/fadvise.js';
import { filemap_grab_folio, filemap_lock_folio } from '../../src/mm/filemap.js';
import { generic_file_direct_write, generic_file_read_iter } from '../../src/mm/filemap-direct.js';
import { filemap_read, read_mapping_folio } from '../../src/mm/filemap-read.js';
import { filemap_get_folio } from '../../src/mm/filemap-tree.js';
import { generic_perform_write } from '../../src/mm/filemap-write.js';
import { type Folio, folio_put, PAGE_SIZE } from '../../src/mm/folio.js';
import { folio_clear_uptodate, folio_mark_uptodate, folio_unlock } from '../../src/mm/folio-state.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { ram_aops } from '../../src/mm/libfs.js';
import type { address_space_operations } from '../../src/mm/operations.js';
import { FakeFile, hops, World } from './fake-file.js';

function stored(world: World, text: string, extra: address_space_operations = {}): FakeFile {
  const f = new FakeFile(world, extra);
  f.i_size = text.length;
  const page = Buffer.alloc(PAGE_SIZE);
  page.write(text, 'latin1');
  f.device.set(0, page);
  return f;
}

t.test('what is cached is read and written without a promise and by reference', async (t) => {
  const world = new World();
  const f = new FakeFile(world, ram_aops);
  const task = world.task();
  const lock = await f.i_rwsem.write(task);
  const written = generic_perform_write(task, f.iocb(10), IovIter.ofSource(Buffer.from('hello')));
  t.equal(written, 5, 'no promise, even though the page is new');
  lock.release();
  const iter = IovIter.ofDest(100);
  const iocb = f.iocb(8);
  const held = task.held.length;
  t.equal(filemap_read(task, iocb, iter), 7);
  t.equal(task.held.length, held);
  t.equal(iocb.ki_pos, 15);
  t.equal(Buffer.concat(iter.segments).toString('latin1'), '\0\0hello');
  t.equal(iter.segments[0]?.buffer, f.mapping.i_pages.load(0)?.data.buffer);
  iter.release();
  t.equal(filemap_read(task, f.iocb(15), IovIter.ofDest(1)), 0, 'the end of the file');
  t.equal(filemap_read(task, f.iocb(1e12), IovIter.ofDest(1)), 0);
  t.same(world.messages(), []);
});

t.test('a read waits for the I/O of another, and reads once', async (t) => {
  const f = stored(new World(), 'text');
  f.behaviour = { hold: true };
  const reads = [1, 2, 3].map(async () => {
    const iter = IovIter.ofDest(10);
    await filemap_read(f.world.task(), f.iocb(0), iter);
    return Buffer.concat(iter.segments).toString();
  });
  await hops(30);
  f.resume();
  t.same(await Promise.all(reads), ['text', 'text', 'text']);
  t.same(f.log, ['read_folio 0']);
});

t.test('RWF_NOWAIT takes what is there', async (t) => {
  const f = stored(new World(), 'text');
  const task = f.world.task();
  await t.rejects(async () => filemap_read(task, f.iocb(0, { nowait: true }), IovIter.ofDest(4)), { code: 'EAGAIN' });
  t.equal(f.mapping.nrpages, 0);
  await filemap_read(task, f.iocb(0), IovIter.ofDest(4));
  t.equal(filemap_read(task, f.iocb(0, { nowait: true }), IovIter.ofDest(4)), 4);
});

t.test('a folio of which the asked bytes are good is not read', async (t) => {
  const asked: string[] = [];
  const f = stored(new World(), 'text', {
    is_partially_uptodate: (_task, _folio, from, count) => {
      asked.push(`${from}+${count}`);
      return from === 1;
    },
  });
  const task = f.world.task();
  const { folio } = await filemap_grab_folio(task, f.mapping, 0);
  folio.data.fill('good');
  folio_unlock(task, folio);
  folio_put(folio);
  const iter = IovIter.ofDest(2);
  t.equal(await filemap_read(task, f.iocb(1), iter), 2);
  t.equal(Buffer.concat(iter.segments).toString(), 'oo');
  t.same(f.log, []);
  const other = IovIter.ofDest(2);
  await filemap_read(task, f.iocb(0), other);
  t.equal(Buffer.concat(other.segments).toString(), 'te');
  t.same(asked, ['1+2', '0+2']);
});

t.test('a read_folio that keeps the lock is reported and fails', async (t) => {
  const world = new World();
  const f = stored(world, 'text', { read_folio: () => undefined });
  const task = world.task();
  await t.rejects(async () => filemap_read(task, f.iocb(0), IovIter.ofDest(4)), { code: 'EIO' });
  t.ok(world.violations.some((violation) => violation.kind === 'not-released'));
  t.equal(task.held.length, 0);
});

t.test('who waits for the lock of a folio that goes away gets the next one', async (t) => {
  const world = new World();
  const f = new FakeFile(world);
  await f.write(world.task(), 0, Buffer.alloc(PAGE_SIZE, 1));
  const old = filemap_get_folio(f.mapping, 0);
  const holder = world.task();
  const held = await old?.lock.lock(holder);
  const waiting = filemap_grab_folio(world.task(), f.mapping, 0);
  const looking = filemap_lock_folio(world.task(), f.mapping, 0);
  await hops(3);
  const { filemap_remove_folio } = await import('../../src/mm/filemap-tree.js');
  if (old !== undefined) filemap_remove_folio(holder, old);
  held?.release();
  const got = await waiting;
  t.not(got.folio, old);
  t.equal(got.folio.mapping, f.mapping);
  got.held.release();
  folio_put(got.folio);
  const looked = await looking;
  t.equal(looked === undefined || looked.folio === got.folio, true);
  if (old !== undefined) folio_put(old);
});

t.test('a write_end that accepts less: the rest is written again; that accepts nothing: EIO', async (t) => {
  const world = new World();
  let accept = (copied: number): number => Math.ceil(copied / 2);
  const f: FakeFile = new FakeFile(world, {
    ...ram_aops,
    write_end: (task, _file, _mapping, pos, _len, copied, begun) => {
      const n = accept(copied);
      folio_mark_uptodate(begun.folio);
      f.i_size = Math.max(f.i_size, pos + n);
      folio_unlock(task, begun.folio);
      folio_put(begun.folio);
      return n;
    },
  });
  const bytes = Buffer.from('0123456789');
  t.equal(await f.write(world.task(), 0, bytes), 10);
  const iter = IovIter.ofDest(10);
  await filemap_read(world.task(), f.iocb(0), iter);
  t.equal(Buffer.concat(iter.segments).toString(), '0123456789');
  accept = () => 0;
  await t.rejects(f.write(world.task(), 0, bytes), { code: 'EIO' });
  accept = (copied) => (copied > 5 ? 5 : 0);
  t.equal(await f.write(world.task(), 0, bytes), 5, 'what was written before the error counts');
});

t.test('read_mapping_folio reads once, with invalidate_lock held', async (t) => {
  const f = stored(new World(), 'text');
  const task = f.world.task();
  const held = await f.mapping.invalidate_lock.write(task);
  const folio = await read_mapping_folio(task, f.mapping, 0, held);
  t.equal(folio.data.toString('latin1', 0, 4), 'text');
  t.equal(folio.lock.locked, false);
  const again = read_mapping_folio(task, f.mapping, 0, held);
  t.equal(again, folio as typeof again);
  // Its read has failed, or is under way: it is read again, or waited for.
  folio_clear_uptodate(folio);
  folio_put(await read_mapping_folio(task, f.mapping, 0, held));
  held.release();
  folio_put(folio);
  folio_put(again as Folio);
  t.same(f.log, ['read_folio 0', 'read_folio 0']);
  t.same(f.world.messages(), []);
  folio_clear_uptodate(folio);
  folio_put(await read_mapping_folio(task, f.mapping, 0, held));
  t.match(f.world.messages(), [/invalidate_lock must be held/, /invalidate_lock/]);
});

t.test('direct I/O and the cache agree', async (t) => {
  const world = new World();
  const f: FakeFile = new FakeFile(world, {
    direct_IO: (_task, iocb, iter) => {
      const index = iocb.ki_pos / PAGE_SIZE;
      if (iter.source === undefined) {
        const n = Math.min(iter.count, PAGE_SIZE);
        return iter.addBytes(Buffer.from(f.device.get(index) ?? Buffer.alloc(PAGE_SIZE)).subarray(0, n));
      }
      f.device.set(index, Buffer.from(iter.take(PAGE_SIZE)));
      return PAGE_SIZE;
    },
  });
  const task = world.task();
  await f.write(task, 0, Buffer.alloc(2 * PAGE_SIZE, 1));
  const direct = IovIter.ofDest(2 * PAGE_SIZE);
  t.equal(await generic_file_read_iter(task, f.iocb(0, { direct: true }), direct), 2 * PAGE_SIZE);
  t.ok(
    Buffer.concat(direct.segments).every((byte) => byte === 1),
    'dirty pages were written first',
  );
  direct.release();
  const lock = await f.i_rwsem.write(task);
  const iocb = f.iocb(PAGE_SIZE, { direct: true });
  t.equal(await generic_file_direct_write(task, iocb, IovIter.ofSource(Buffer.alloc(PAGE_SIZE, 2))), PAGE_SIZE);
  t.equal(iocb.ki_pos, 2 * PAGE_SIZE);
  lock.release();
  t.equal(f.mapping.i_pages.load(1), undefined, 'the stale page is gone');
  const cached = IovIter.ofDest(1);
  await filemap_read(task, f.iocb(PAGE_SIZE), cached);
  t.equal(cached.segments[0]?.[0], 2);
  t.same(world.messages(), []);
});

t.test('holes and data in the cache', async (t) => {
  const world = new World();
  const f = new FakeFile(world);
  const task = world.task();
  await f.write(task, 3 * PAGE_SIZE, Buffer.alloc(PAGE_SIZE, 1));
  const end = 10 * PAGE_SIZE;
  t.equal(mapping_seek_hole_data(f.mapping, 0, end, true), 3 * PAGE_SIZE);
  t.equal(mapping_seek_hole_data(f.mapping, 3 * PAGE_SIZE + 5, end, true), 3 * PAGE_SIZE + 5);
  t.equal(mapping_seek_hole_data(f.mapping, 4 * PAGE_SIZE, end, true), end);
  t.equal(mapping_seek_hole_data(f.mapping, 0, end, false), 0);
  t.equal(mapping_seek_hole_data(f.mapping, 3 * PAGE_SIZE, end, false), 4 * PAGE_SIZE);
});

t.test('writes leave nothing behind in the old generation', async (t) => {
  const world = new World();
  const f = new FakeFile(world, ram_aops);
  const task = world.task();
  const page = Buffer.alloc(PAGE_SIZE);
  using _lock = await f.i_rwsem.write(task);
  const write = (count: number): void => {
    for (let i = 0; i < count; i++) void generic_perform_write(task, f.iocb(0), IovIter.ofSource(page));
  };
  const old = (): number =>
    getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0;
  write(10_000);
  const before = old();
  write(50_000);
  // A closure in the old generation for each write kept half of what was allocated alive, and each collection took a hundred times as long.
  t.ok(old() - before < 1e6, `${old() - before} bytes more after 50,000 writes`);
});

t.test('a page for which the cache cannot be locked is given back', async (t) => {
  const f = stored(new World(), 'text');
  const task = f.world.task();
  const { pool } = f.mapping.memory;
  const before = pool.used;
  const held = await f.mapping.invalidate_lock.write(task);
  // Readahead finds nothing to read, because the file is cut off at that moment.
  const get = (): number => (new Error().stack?.includes('do_page_cache_ra') === true ? 0 : 4);
  Object.defineProperty(f, 'i_size', { get });
  await t.rejects(
    Promise.resolve().then(() => filemap_read(task, f.iocb(0), IovIter.ofDest(10))),
    { code: 'EDEADLK' },
    'it is his own',
  );
  held.release();
  t.equal(pool.used, before);
  t.equal(f.mapping.nrpages, 0);
});
