/** Pages move, and nobody notices: migration, compaction, and pages whose memory is broken. */

import t from 'tap';
import { SLAB_SLOTS } from '../../src/block/slab.js';
import { compact_memory } from '../../src/mm/compaction.js';
import { file_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { type Folio, folio_get, folio_put, PAGE_SIZE } from '../../src/mm/folio.js';
import { generic_error_remove_folio, memory_failure } from '../../src/mm/memory-failure.js';
import { filemap_migrate_folio } from '../../src/mm/migrate.js';
import { exit_mmap } from '../../src/mm/mmap.js';
import { madvise } from '../../src/mm/msync.js';
import { MADV_DONTNEED, MAP_ANONYMOUS, MAP_PRIVATE } from '../../src/uapi/mman.js';
import { FakeFile, World } from './fake-file.js';
import { failureOf, Process, TestVmFile } from './process.js';

const P = PAGE_SIZE;
const SLABS = 4;

function folioAt(file: FakeFile, index: number): Folio {
  const folio = file.mapping.i_pages.load(index);
  if (folio === undefined) throw new Error(`page ${index} is not cached`);
  return folio;
}

/** Fill some slabs with a file's pages, and leave every tenth. */
async function scattered(world: World, extra = {}): Promise<FakeFile> {
  const file = new FakeFile(world, extra);
  const pages = SLABS * SLAB_SLOTS;
  for (let page = 0; page < pages; page++) await file.write(world.task(), page * P, Buffer.alloc(P, `${page} `));
  for (let page = 0; page < pages; page += 10) await file.punch(world.task(), (page + 1) * P, 9 * P);
  return file;
}

async function damaged(process: Process, at: number): Promise<number> {
  let wrong = 0;
  for (let page = 0; page < SLABS * SLAB_SLOTS; page += 10) {
    if (!(await process.load(at + page * P, P)).equals(Buffer.alloc(P, `${page} `))) wrong++;
  }
  return wrong;
}

t.test('compaction empties slabs, through migrate_folio or without it, with pages mapped', async (t) => {
  for (const own of [true, false]) {
    const world = new World({ limit: 64 << 20 });
    let moves = 0;
    const file = await scattered(
      world,
      own
        ? {
            migrate_folio: (...args: Parameters<typeof filemap_migrate_folio>) => {
              moves++;
              filemap_migrate_folio(...args);
            },
          }
        : {},
    );
    const process = new Process(world);
    const at = await process.mmap(new TestVmFile(file), SLABS * SLAB_SLOTS * P);
    t.equal(await damaged(process, at), 0);
    await process.store(at, '0 0 0 stored');
    const dirty = file.mapping.i_pages.getMark(0, 'dirty');
    const { pool } = world.memory;
    t.ok(pool.reserved >= SLABS * SLAB_SLOTS * P, 'the pages lie in many slabs');
    const done = await compact_memory(world.task('kcompactd'), world.memory);
    t.ok(done.moved > 100, `${done.moved} moved, ${done.stayed} stayed`);
    t.equal(own, moves > 0);
    t.equal(pool.reserved, SLAB_SLOTS * P, 'one slab is left');
    t.equal((await process.load(at, 12)).toString(), '0 0 0 stored');
    t.equal(dirty, true);
    await process.store(at, Buffer.alloc(P, '0 '));
    t.equal(await damaged(process, at), 0, 'every page has its bytes');
    await file_write_and_wait_range(world.task(), new TestVmFile(file), 0, Number.MAX_SAFE_INTEGER);
    t.equal(file.stored().toString('latin1', 0, 4), '0 0 ');
    await exit_mmap(process.task, process.mm);
    await file.truncate(world.task(), 0);
    t.equal(pool.used, 0, 'no page has leaked');
    t.same(world.messages(), []);
  }
});

t.test('what is in use or locked stays, and a page that stays is whole', async (t) => {
  const world = new World({ limit: 64 << 20 });
  const file = await scattered(world);
  const inUse = folioAt(file, 10);
  folio_get(inUse);
  const holder = world.task('holder');
  const locked = folioAt(file, 20);
  await locked.lock.lock(holder);
  const done = await compact_memory(world.task('kcompactd'), world.memory, 'MIGRATE_ASYNC');
  t.ok(done.stayed >= 2, `${done.stayed} stayed`);
  t.equal(folioAt(file, 10), inUse);
  t.equal(folioAt(file, 20), locked);
  locked.lock.unlock(holder);
  folio_put(inUse);
  t.equal(inUse.data.toString('latin1', 0, 3), '10 ');
  t.same(world.messages(), []);
});

t.test('anonymous memory moves too', async (t) => {
  const world = new World({ limit: 64 << 20 });
  const process = new Process(world);
  const pages = 2 * SLAB_SLOTS;
  const at = await process.mmap(undefined, pages * P, MAP_PRIVATE | MAP_ANONYMOUS);
  for (let page = 0; page < pages; page++) await process.store(at + page * P, Buffer.alloc(P, `${page} `));
  for (let page = 0; page < pages; page += 4) {
    await madvise(process.task, process.mm, at + (page + 1) * P, 3 * P, MADV_DONTNEED);
  }
  const { moved } = await compact_memory(world.task('kcompactd'), world.memory);
  t.ok(moved > 0);
  t.equal(world.memory.pool.reserved, SLAB_SLOTS * P);
  for (let page = 0; page < pages; page += 4) {
    if (!(await process.load(at + page * P, P)).equals(Buffer.alloc(P, `${page} `))) t.fail(`page ${page}`);
  }
  await exit_mmap(process.task, process.mm);
  t.equal(world.memory.pool.used, 0);
  t.same(world.messages(), []);
});

t.test('broken memory: a clean page is read again, a dirty one is an error told once', async (t) => {
  const world = new World();
  let removed = 0;
  const file = new FakeFile(world, {
    error_remove_folio: (task, mapping, folio) => {
      removed++;
      return generic_error_remove_folio(task, mapping, folio);
    },
  });
  const open = new TestVmFile(file);
  await file.write(world.task(), 0, Buffer.alloc(2 * P, 'w'));
  await file_write_and_wait_range(world.task(), open, 0, 2 * P);
  const process = new Process(world);
  const at = await process.mmap(open, 2 * P);
  await process.load(at, 1);
  const clean = folioAt(file, 0);
  t.equal(await memory_failure(world.task('mce'), clean), 'recovered');
  t.equal(removed, 1);
  t.equal(file.mapping.i_pages.load(0), undefined);
  t.equal(await failureOf(process.load(at, 1)), 'SIGBUS', 'who has it mapped is told');
  t.equal(await memory_failure(world.task('mce'), clean), 'ignored', 'once is enough');
  const other = new Process(world);
  const there = await other.mmap(open, 2 * P);
  t.equal((await other.load(there, 1)).toString(), 'w', 'others read it again from the device');
  await file_write_and_wait_range(world.task(), open, 0, 2 * P);
  await other.store(there + P, 'lost');
  t.equal(await memory_failure(world.task('mce'), folioAt(file, 1)), 'recovered');
  t.equal(await failureOf(file_write_and_wait_range(world.task(), open, 0, 2 * P)), 'EIO');
  t.equal(await failureOf(file_write_and_wait_range(world.task(), open, 0, 2 * P)), 'none', 'once');
  t.equal(world.memory.nr_poisoned, 2);
  await exit_mmap(process.task, process.mm);
  await exit_mmap(other.task, other.mm);
  await file.truncate(world.task(), 0);
  t.equal(world.memory.pool.used, 2, 'the two pages are never used again');
  t.same(world.messages(), []);
});

t.test('broken memory without error_remove_folio, and of a process', async (t) => {
  const world = new World();
  const file = new FakeFile(world);
  await file.write(world.task(), 0, Buffer.alloc(P, 'w'));
  await file_write_and_wait_range(world.task(), new TestVmFile(file), 0, P);
  t.equal(await memory_failure(world.task('mce'), folioAt(file, 0)), 'recovered');
  const stubborn = new FakeFile(world, {
    error_remove_folio: () => {
      throw new Error('no');
    },
  });
  await stubborn.write(world.task(), 0, Buffer.alloc(P, 'w'));
  t.equal(await memory_failure(world.task('mce'), folioAt(stubborn, 0)), 'failed');
  const process = new Process(world);
  const at = await process.mmap(undefined, P, MAP_PRIVATE | MAP_ANONYMOUS);
  await process.store(at, 'mine');
  const own = process.mm.pgd.pte(at / P)?.folio;
  if (own === undefined) throw new Error('not mapped');
  t.equal(await memory_failure(world.task('mce'), own), 'recovered');
  t.equal(await failureOf(process.load(at, 1)), 'SIGBUS');
  t.same(world.messages(), []);
});
