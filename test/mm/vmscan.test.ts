/** The memory limit: what goes when it is reached, what stays, who waits, and who may exceed it. */
import t from 'tap';
import { Bdi } from '../../src/mm/backing-dev.js';
import { filemap_read } from '../../src/mm/filemap-read.js';
import { filemap_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { folio_alloc } from '../../src/mm/page-alloc.js';
import { FakeFile, settle, World } from './fake-file.js';

const LIMIT = 64;
const ALL = Number.POSITIVE_INFINITY;

function small(): World {
  return new World({ limit: LIMIT * PAGE_SIZE });
}

async function readPage(f: FakeFile, page: number): Promise<number> {
  const iter = IovIter.ofDest(PAGE_SIZE);
  const n = await filemap_read(f.world.task(), f.iocb(page * PAGE_SIZE, { ki_filp: f.open(0) }), iter);
  iter.release();
  return n;
}

async function quiet(world: World): Promise<void> {
  while (world.memory.kswapdRunning) await settle();
}

t.test('reading more than there is room for keeps to the limit', async (t) => {
  const world = small();
  const f = new FakeFile(world);
  f.i_size = 500 * PAGE_SIZE;
  let most = 0;
  for (let page = 0; page < 500; page++) {
    await readPage(f, page);
    most = Math.max(most, world.memory.nr_pages);
  }
  t.ok(most <= LIMIT, `${most} pages`);
  t.ok(f.mapping.nrpages > LIMIT / 4, 'and does not throw everything away');
  t.equal(f.mapping.nrpages, world.memory.nr_file_pages);
  t.same(world.messages(), []);
});

t.test('what is used again and again stays', async (t) => {
  const world = small();
  const f = new FakeFile(world);
  f.i_size = 1_000 * PAGE_SIZE;
  const hot = [0, 1, 2, 3];
  for (let page = 10; page < 700; page++) {
    for (const one of hot) await readPage(f, one);
    await readPage(f, page);
  }
  const misses = f.log.filter((line) => /read_folio [0-3]$/.test(line)).length;
  t.ok(misses <= 12, `${misses} misses of four hot pages in 700 rounds`);
});

t.test('dirty folios are written by a task of its own, and freed', async (t) => {
  const world = new World({ limit: LIMIT * PAGE_SIZE, dirtyRatio: 100 });
  const f = new FakeFile(world);
  f.behaviour = { delay: () => 5 };
  for (let page = 0; page < 300; page++) {
    await f.write(world.task(), page * PAGE_SIZE, Buffer.alloc(PAGE_SIZE, page));
    t.ok(world.memory.nr_pages <= LIMIT) || t.bailout();
  }
  await quiet(world);
  t.ok(f.log.some((line) => line.includes('WBC_SYNC_NONE')));
  await filemap_write_and_wait_range(world.task(), f.mapping, 0, ALL);
  const stored = f.stored();
  for (let page = 0; page < 300; page++) t.equal(stored[page * PAGE_SIZE], page & 255) || t.bailout();
  t.same(world.messages(), []);
});

t.test('WRITEPAGE_ACTIVATE moves the folio to the active list', async (t) => {
  const world = new World({ limit: LIMIT * PAGE_SIZE, dirtyRatio: 100 });
  const f = new FakeFile(world);
  let activated = 0;
  f.behaviour = {
    activate: () => {
      activated++;
      return activated <= 10;
    },
  };
  for (let page = 0; page < LIMIT * 2; page++)
    await f.write(world.task(), page * PAGE_SIZE, Buffer.alloc(PAGE_SIZE, 1));
  await quiet(world);
  t.ok(activated > 10, `${activated} calls`);
  t.same(world.messages(), []);
  await filemap_write_and_wait_range(world.task(), f.mapping, 0, ALL);
  t.equal(f.device.size, LIMIT * 2);
});

t.test('without writepage the flushers are woken', async (t) => {
  const world = new World({ limit: LIMIT * PAGE_SIZE, dirtyRatio: 100, dirtyBackgroundRatio: 100 });
  let woken = 0;
  const bdi = new Bdi(world.memory, 'fake', (reason) => {
    if (reason !== 'vmscan') return;
    woken++;
    void filemap_write_and_wait_range(world.task('flush'), f.mapping, 0, ALL);
  });
  const f: FakeFile = new FakeFile(
    world,
    {
      writepages: async (_task, mapping, wbc) => {
        const { write_cache_pages } = await import('../../src/mm/page-writeback.js');
        await write_cache_pages(world.task(), mapping, wbc, (task, folio, control) => writeOne?.(task, folio, control));
      },
    },
    bdi,
  );
  const writeOne = f.mapping.a_ops.writepage;
  Object.assign(f.mapping.a_ops, { writepage: undefined });
  for (let page = 0; page < LIMIT * 2; page++)
    await f.write(world.task(), page * PAGE_SIZE, Buffer.alloc(PAGE_SIZE, 1));
  t.ok(woken > 0);
  t.equal(f.i_size, LIMIT * 2 * PAGE_SIZE);
  await quiet(world);
});

t.test('private data must be released first', async (t) => {
  const world = small();
  let refuse = true;
  const f = new FakeFile(world, {
    release_folio: (_task, folio) => {
      if (refuse && folio.index < 8) return false;
      folio.private = undefined;
      return true;
    },
  });
  f.i_size = 500 * PAGE_SIZE;
  for (let page = 0; page < 300; page++) {
    await readPage(f, page);
    const folio = f.mapping.i_pages.load(page);
    if (folio !== undefined) folio.private = {};
  }
  for (let page = 0; page < 8; page++) t.ok(f.mapping.i_pages.load(page), 'a folio that was not released stays');
  refuse = false;
  t.ok(world.memory.nr_pages <= LIMIT);
  t.same(world.messages(), []);
});

/** Answers under way that refer to all the memory there is: each to a page of its own, because who waits for memory holds none. */
async function pinAll(world: World, f: FakeFile): Promise<IovIter[]> {
  const pinned: IovIter[] = [];
  for (let page = 0; page < LIMIT; page++) {
    const iter = IovIter.ofDest(PAGE_SIZE);
    await filemap_read(world.task(), f.iocb(page * PAGE_SIZE, { ki_filp: f.open(0) }), iter);
    pinned.push(iter);
  }
  return pinned;
}

t.test('ENOMEM only when nothing can be freed, and only then', async (t) => {
  const world = small();
  const f = new FakeFile(world);
  f.i_size = 500 * PAGE_SIZE;
  const pinned = await pinAll(world, f);
  t.equal(world.memory.nr_pages, LIMIT, 'as much as there is memory for');
  await t.rejects(readPage(f, 400), { code: 'ENOMEM' });
  const waiting = readPage(f, 401);
  await settle();
  for (const iter of pinned) iter.release();
  t.equal(await waiting, PAGE_SIZE, 'who waits gets it when it comes free');
});

t.test('inside a transaction the reserve is there', async (t) => {
  const world = small();
  const f = new FakeFile(world);
  f.i_size = 500 * PAGE_SIZE;
  const pinned = await pinAll(world, f);
  const task = world.task();
  task.journal_info = {};
  const folio = await folio_alloc(task, f.mapping, 450);
  t.equal(world.memory.nr_pages, LIMIT + 1);
  t.ok(folio);
  for (const iter of pinned) iter.release();
});

t.test('other caches shrink with the pages', async (t) => {
  const world = small();
  let objects = 1_000;
  const end = world.memory.registerShrinker({
    count: () => objects,
    scan: (_task, nr) => {
      const freed = Math.min(nr, objects);
      objects -= freed;
      return freed;
    },
  });
  const f = new FakeFile(world);
  f.i_size = 500 * PAGE_SIZE;
  for (let page = 0; page < 200; page++) await readPage(f, page);
  await quiet(world);
  t.ok(objects < 1_000);
  end();
  t.equal(world.memory.shrinkers.size, 0);
});
