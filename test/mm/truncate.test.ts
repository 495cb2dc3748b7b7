/** Truncation and invalidation against I/O under way, and what the filesystem is told. */
import t from 'tap';
import { filemap_get_folio } from '../../src/mm/filemap-tree.js';
import { filemap_flush } from '../../src/mm/filemap-wait.js';
import { folio_put, PAGE_SIZE } from '../../src/mm/folio.js';
import { folio_clear_dirty_for_io } from '../../src/mm/folio-clean.js';
import { folio_end_writeback, folio_start_writeback } from '../../src/mm/folio-state.js';
import { invalidate_inode_pages2_range, invalidate_mapping_pages } from '../../src/mm/invalidate.js';
import type { address_space_operations } from '../../src/mm/operations.js';
import { truncate_inode_pages_final, truncate_inode_pages_range } from '../../src/mm/truncate.js';
import { FakeFile, hops, World } from './fake-file.js';

const ALL = Number.POSITIVE_INFINITY;

async function file(world: World, pages: number, extra: address_space_operations = {}): Promise<FakeFile> {
  const made = new FakeFile(world, extra);
  await made.write(world.task(), 0, Buffer.alloc(pages * PAGE_SIZE, 0xee));
  return made;
}

t.test('waits for the writeback of what it removes', async (t) => {
  const world = new World();
  const f = await file(world, 2);
  f.behaviour = { hold: true };
  await filemap_flush(world.task(), f.mapping);
  let done = false;
  const truncating = f.truncate(world.task(), 0).then(() => {
    done = true;
  });
  await hops(100);
  t.equal(done, false);
  f.resume();
  await truncating;
  t.equal(f.mapping.nrpages, 0);
  t.equal(f.device.size, 0, 'nothing is written after the blocks are gone');
  t.same(world.messages(), []);
});

t.test('a reader of the removed page keeps its bytes until it lets go', async (t) => {
  const world = new World();
  const f = await file(world, 1);
  const folio = filemap_get_folio(f.mapping, 0);
  if (folio === undefined) throw new Error('no folio');
  await f.truncate(world.task(), 0);
  t.equal(folio.mapping, undefined);
  t.equal(folio.data[0], 0xee);
  t.equal(world.memory.nr_pages, 1);
  folio_put(folio);
  t.equal(world.memory.nr_pages, 0);
  t.equal(folio.data.length, 0, 'and finds nothing afterwards');
});

t.test('zeroes what is covered in part', async (t) => {
  const world = new World();
  const f = await file(world, 4);
  const bytes = (index: number): Buffer => f.mapping.i_pages.load(index)?.data ?? Buffer.alloc(0);
  await f.punch(world.task(), 100, 2 * PAGE_SIZE);
  t.equal(bytes(0)[99], 0xee);
  t.equal(bytes(0)[100], 0);
  t.equal(f.mapping.i_pages.load(1), undefined);
  t.equal(bytes(2)[99], 0);
  t.equal(bytes(2)[100], 0xee);
  await f.punch(world.task(), 3 * PAGE_SIZE + 10, 20);
  t.equal(bytes(3)[9], 0xee);
  t.ok(
    bytes(3)
      .subarray(10, 30)
      .every((byte) => byte === 0),
  );
  t.equal(bytes(3)[30], 0xee);
});

t.test('the filesystem is told under both locks, and on eviction under the one that is left', async (t) => {
  const world = new World();
  const told: string[] = [];
  const f = await file(world, 3, {
    invalidate_folio: (_task, folio, start, length) => {
      told.push(`${folio.index} ${start}+${length}`);
      if (length === PAGE_SIZE) folio.private = undefined;
    },
    free_folio: (_task, folio) => {
      told.push(`free ${folio.index}`);
    },
  });
  for (let i = 0; i < 3; i++) {
    const folio = f.mapping.i_pages.load(i);
    if (folio !== undefined) folio.private = {};
  }
  await f.truncate(world.task(), PAGE_SIZE + 1);
  t.same(told, [`2 0+${PAGE_SIZE}`, 'free 2', `1 1+${PAGE_SIZE - 1}`]);
  await truncate_inode_pages_final(world.task(), f.mapping);
  t.same(told.slice(3), [`0 0+${PAGE_SIZE}`, 'free 0', `1 0+${PAGE_SIZE}`, 'free 1']);
  t.same(world.messages(), []);
});

t.test('the pages of an inode that goes away go at once, but for those that somebody has locked', async (t) => {
  const world = new World();
  const idle = await file(world, 3);
  t.notOk(truncate_inode_pages_final(world.task(), idle.mapping) instanceof Promise, 'nothing to wait for');
  t.equal(idle.mapping.nrpages, 0);
  const f = await file(world, 3);
  const reader = world.task();
  const held = await f.mapping.i_pages.load(1)?.lock.lock(reader);
  const ended = truncate_inode_pages_final(world.task(), f.mapping);
  t.ok(ended instanceof Promise, 'a page that is locked is waited for');
  t.equal(f.mapping.nrpages, 1);
  held?.release();
  await ended;
  t.equal(f.mapping.nrpages, 0);
  t.same(world.messages(), []);
});

t.test('the guard of another file is no proof', async (t) => {
  const world = new World();
  const f = await file(world, 1);
  const other = await file(world, 1);
  const task = world.task();
  const held = await other.mapping.invalidate_lock.write(task);
  await truncate_inode_pages_range(task, f.mapping, 0, ALL, held);
  t.ok(world.violations.some((violation) => violation.kind === 'lock-not-held'));
  held.release();
});

t.test('invalidate_mapping_pages leaves what is dirty, locked, in use or not released', async (t) => {
  const world = new World();
  const f = await file(world, 6, {
    release_folio: (_task, folio) => {
      if (folio.index === 5) return false;
      folio.private = undefined;
      return true;
    },
  });
  const task = world.task();
  await filemap_flush(task, f.mapping);
  await f.write(task, 0, Buffer.alloc(PAGE_SIZE, 1));
  const folios = [1, 2, 3, 4, 5].map((i) => f.mapping.i_pages.load(i));
  const lock = await folios[0]?.lock.lock(world.task());
  const used = filemap_get_folio(f.mapping, 2);
  for (const folio of folios.slice(3)) if (folio !== undefined) folio.private = {};
  t.equal(await invalidate_mapping_pages(task, f.mapping, 0, ALL), 2);
  t.same(
    f.mapping.i_pages.collect(0, ALL, 10).map((folio) => folio.index),
    [0, 1, 2, 5],
  );
  lock?.release();
  if (used !== undefined) folio_put(used);
});

t.test('invalidate_inode_pages2 launders what is dirty, or says EBUSY', async (t) => {
  const world = new World();
  const plain = await file(world, 2);
  await t.rejects(invalidate_inode_pages2_range(world.task(), plain.mapping, 0, ALL), { code: 'EBUSY' });
  t.equal(plain.mapping.nrpages, 2);
  const laundered: number[] = [];
  const f: FakeFile = await file(world, 2, {
    launder_folio: async (task, folio) => {
      laundered.push(folio.index);
      folio_clear_dirty_for_io(task, folio);
      folio_start_writeback(task, folio);
      await hops(3);
      f.device.set(folio.index, Buffer.from(folio.data));
      folio_end_writeback(task, folio);
    },
  });
  await invalidate_inode_pages2_range(world.task(), f.mapping, 0, ALL);
  t.same(laundered, [0, 1]);
  t.equal(f.mapping.nrpages, 0);
  t.equal(f.device.size, 2);
});
