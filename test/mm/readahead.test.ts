/** Readahead windows: how they start, grow, and where they do not start at all. */

import t from 'tap';
import type { MmFile } from '../../src/mm/address-space.js';
import { generic_fadvise } from '../../src/mm/fadvise.js';
import { filemap_read } from '../../src/mm/filemap-read.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { get_init_ra_size, get_next_ra_size } from '../../src/mm/readahead.js';
import { POSIX_FADV_DONTNEED, POSIX_FADV_RANDOM, POSIX_FADV_WILLNEED } from '../../src/uapi/mman.js';
import { FakeFile, World } from './fake-file.js';

function file(world: World, pages: number): FakeFile {
  const made: FakeFile = new FakeFile(world, { readahead: FakeFile.readahead(() => made) });
  made.i_size = pages * PAGE_SIZE;
  return made;
}

async function read(f: FakeFile, open: MmFile, page: number, pages = 1): Promise<string[]> {
  f.log.length = 0;
  const iter = IovIter.ofDest(pages * PAGE_SIZE);
  await filemap_read(f.world.task(), f.iocb(page * PAGE_SIZE, { ki_filp: open }), iter);
  iter.release();
  return f.log.filter((line) => line.startsWith('readahead') || line.startsWith('read_folio'));
}

t.test('windows start small and double up to the limit', async (t) => {
  const f = file(new World(), 200);
  const open = f.open(32);
  const reads: string[] = [];
  for (let page = 0; page < 120; page++) reads.push(...(await read(f, open, page)));
  t.same(reads, [
    'readahead 0+4',
    'readahead 4+8',
    'readahead 12+16',
    'readahead 28+32',
    'readahead 60+32',
    'readahead 92+32',
    'readahead 124+32',
  ]);
  t.same(f.world.messages(), []);
});

t.test('each window is asked for before the last one is used up', async (t) => {
  const f = file(new World(), 200);
  const open = f.open(32);
  await read(f, open, 0);
  t.same(await read(f, open, 1), ['readahead 4+8'], 'the mark is at the second page of the first window');
});

t.test('random reads read what they ask for', async (t) => {
  const f = file(new World(), 2_000);
  const open = f.open(32);
  t.same(await read(f, open, 500), ['readahead 500+1']);
  t.same(await read(f, open, 100, 3), ['readahead 100+3']);
  t.same(await read(f, open, 1_500), ['readahead 1500+1']);
});

t.test('a window ends at the end of the file', async (t) => {
  const f = file(new World(), 3);
  t.same(await read(f, f.open(32), 0), ['readahead 0+3']);
  t.equal(f.mapping.nrpages, 3);
});

t.test('cached pages are left out', async (t) => {
  const f = file(new World(), 100);
  const open = f.open(32);
  await read(f, open, 2);
  t.same(await read(f, f.open(32), 0), ['readahead 0+2', 'readahead 3+1']);
});

t.test('without readahead a window is read folio by folio', async (t) => {
  const f = new FakeFile(new World());
  f.i_size = 10 * PAGE_SIZE;
  t.same(await read(f, f.open(4), 0, 2), ['read_folio 0', 'read_folio 1', 'read_folio 2', 'read_folio 3']);
});

t.test('a folio that readahead did not try is read when it is needed', async (t) => {
  const f: FakeFile = new FakeFile(new World(), {
    readahead: () => undefined,
  });
  f.i_size = 10 * PAGE_SIZE;
  t.same(await read(f, f.open(4), 0), ['read_folio 0']);
  t.equal(f.mapping.nrpages, 1, 'the others have left the cache');
  t.same(f.world.messages(), []);
});

t.test('short memory cuts readahead short, and nothing fails', async (t) => {
  const world = new World({ limit: 64 * PAGE_SIZE });
  const f = file(world, 200);
  const open = f.open(128);
  const iter = IovIter.ofDest(50 * PAGE_SIZE);
  t.equal(await filemap_read(world.task(), f.iocb(0, { ki_filp: open }), iter), 50 * PAGE_SIZE);
  t.ok(world.memory.nr_pages <= world.memory.limit);
  iter.release();
});

t.test('a failed readahead is an error only where the page is needed', async (t) => {
  const f = file(new World(), 10);
  f.behaviour = { failRead: (index) => index === 2 };
  const open = f.open(8);
  await read(f, open, 0);
  await read(f, open, 1);
  t.equal(f.mapping.i_pages.load(2)?.uptodate, false);
  const task = f.world.task();
  const iter = IovIter.ofDest(4 * PAGE_SIZE);
  t.equal(await filemap_read(task, f.iocb(0, { ki_filp: open }), iter), 2 * PAGE_SIZE, 'what came before it is read');
  iter.release();
  await t.rejects(async () => filemap_read(task, f.iocb(2 * PAGE_SIZE, { ki_filp: open }), IovIter.ofDest(1)), {
    code: 'EIO',
  });
  f.behaviour = {};
  t.equal(
    await filemap_read(task, f.iocb(2 * PAGE_SIZE, { ki_filp: open }), IovIter.ofDest(1)),
    1,
    'it is tried again',
  );
});

t.test('advice', async (t) => {
  const f = file(new World(), 50);
  const open = f.open(32);
  const task = f.world.task();
  await generic_fadvise(task, open, 0, 0, POSIX_FADV_RANDOM, 32);
  t.same(await read(f, open, 0), ['readahead 0+1']);
  await generic_fadvise(task, open, 10 * PAGE_SIZE, 5 * PAGE_SIZE, POSIX_FADV_WILLNEED, 32);
  t.equal(f.mapping.nrpages, 6);
  await generic_fadvise(task, open, 0, 0, POSIX_FADV_DONTNEED, 32);
  t.equal(f.mapping.nrpages, 0);
  await t.rejects(generic_fadvise(task, open, 0, 0, 99, 32), { code: 'EINVAL' });
});

t.test('sizes', (t) => {
  t.equal(get_init_ra_size(1, 32), 4);
  t.equal(get_init_ra_size(5, 32), 16);
  t.equal(get_init_ra_size(20, 32), 32);
  t.equal(get_next_ra_size(1, 32), 4);
  t.equal(get_next_ra_size(16, 32), 32);
  t.equal(get_next_ra_size(32, 32), 32);
  t.end();
});
