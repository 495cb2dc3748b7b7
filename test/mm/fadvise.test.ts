/** posix_fadvise: readahead by advice, pages wanted, pages not wanted. */

import t from 'tap';
import { generic_fadvise } from '../../src/mm/fadvise.js';
import { filemap_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import {
  POSIX_FADV_DONTNEED,
  POSIX_FADV_NOREUSE,
  POSIX_FADV_NORMAL,
  POSIX_FADV_RANDOM,
  POSIX_FADV_SEQUENTIAL,
  POSIX_FADV_WILLNEED,
} from '../../src/uapi/mman.js';
import { FakeFile, World } from './fake-file.js';
import { failureOf } from './process.js';

const P = PAGE_SIZE;
const RA = 8;

async function stored(pages: number, tail = 0): Promise<{ world: World; file: FakeFile }> {
  const world = new World();
  const file = new FakeFile(world);
  await file.write(world.task(), 0, Buffer.alloc(pages * P + tail, 's'));
  await filemap_write_and_wait_range(world.task(), file.mapping, 0, Number.MAX_SAFE_INTEGER);
  return { world, file };
}

const cached = (file: FakeFile): number[] => file.mapping.i_pages.collect(0, 1e9, 100).map((folio) => folio.index);

t.test('how it will be read', async (t) => {
  const { world, file } = await stored(1);
  const open = file.open(RA);
  const advise = (advice: number): Promise<void> => generic_fadvise(world.task(), open, 0, 0, advice, RA);
  await advise(POSIX_FADV_RANDOM);
  t.equal(open.f_ra.ra_pages, 0);
  await advise(POSIX_FADV_SEQUENTIAL);
  t.equal(open.f_ra.ra_pages, 2 * RA);
  await advise(POSIX_FADV_NORMAL);
  t.equal(open.f_ra.ra_pages, RA);
  await advise(POSIX_FADV_NOREUSE);
  t.equal(await failureOf(advise(99)), 'EINVAL');
  t.equal(await failureOf(generic_fadvise(world.task(), open, 0, -1, POSIX_FADV_NORMAL, RA)), 'EINVAL');
  t.equal(await failureOf(generic_fadvise(world.task(), open, -1, 1, POSIX_FADV_NORMAL, RA)), 'EINVAL');
  t.same(world.messages(), []);
});

t.test('what will not be needed goes: whole pages, and the last one of the file', async (t) => {
  const { world, file } = await stored(5, 100);
  const advise = (offset: number, length: number): Promise<void> =>
    generic_fadvise(world.task(), file.open(RA), offset, length, POSIX_FADV_DONTNEED, RA);
  await advise(P + 1, 2 * P);
  t.same(cached(file), [0, 1, 3, 4, 5], 'of pages 1 to 3 only page 2 lies in it as a whole');
  await advise(4 * P, P + 100);
  t.same(cached(file), [0, 1, 3], 'the last page is whole up to the end of the file');
  await file.write(world.task(), 0, Buffer.from('dirty'));
  await advise(0, 0);
  t.same(cached(file), [], 'what was dirty is written first');
  t.equal(file.stored().toString('latin1', 0, 6), 'dirtys');
  t.same(world.messages(), []);
});

t.test('what will be needed is read, up to the end of the file', async (t) => {
  const { world, file } = await stored(5, 100);
  await generic_fadvise(world.task(), file.open(RA), 0, 0, POSIX_FADV_DONTNEED, RA);
  file.log.length = 0;
  await generic_fadvise(world.task(), file.open(RA), P + 5, P, POSIX_FADV_WILLNEED, RA);
  t.same(cached(file), [1, 2]);
  await generic_fadvise(world.task(), file.open(RA), 3 * P, 0, POSIX_FADV_WILLNEED, RA);
  t.same(cached(file), [1, 2, 3, 4, 5]);
  await generic_fadvise(world.task(), file.open(RA), 99 * P, 0, POSIX_FADV_WILLNEED, RA);
  t.same(cached(file), [1, 2, 3, 4, 5]);
  t.same(world.messages(), []);
});
