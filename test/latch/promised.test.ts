/** What was promised to data is there when they are written back, whatever else has taken blocks meanwhile. */

import t from 'tap';
import type { Syscalls } from '../../src/fs/syscalls.js';
import { infoOf } from '../../src/latch/info.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { errno } from '../../src/sched/errno.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { outcome } from '../fs/world.js';
import { ended, opened } from './opened.js';

const P = PAGE_SIZE;
const MIB = 1 << 20;

const takers: readonly [string, (sys: Syscalls, n: number) => Promise<unknown>][] = [
  ['directories', (sys, n) => sys.mkdir(`/d${n}`, 0o755)],
  [
    'attributes',
    async (sys, n) => {
      await sys.close(await sys.open(`/x${n}`, O_CREAT | O_RDWR, 0o644));
      await sys.setxattr(`/x${n}`, 'user.a', Buffer.alloc(3000, 'x'));
    },
  ],
  ['symlinks', (sys, n) => sys.symlink('t'.repeat(300), `/s${n}`)],
  ['files', async (sys, n) => sys.close(await sys.open(`/n${n}${'n'.repeat(200)}`, O_CREAT | O_RDWR, 0o644))],
];

for (const [name, take] of takers) {
  t.test(`what was promised to pages is not taken by ${name}`, async (t) => {
    const o = await opened({ size: 8 * MIB });
    const { sys, world } = o;
    const { alloc, super: counts } = infoOf(world.sb);
    // Every other page, so that the tree needs nodes, too.
    for (let page = 0; page < 400; page += 2) await sys.pwrite(o.cached, Buffer.alloc(P, 'p'), page * P);
    const fill = await sys.open('/fill', O_CREAT | O_RDWR, 0o644);
    await sys.fallocate(fill, 0, 0, (alloc.promises.available - 60) * P);
    await sys.unlink('/fill');
    let n = 0;
    let why = 'ok';
    while (why === 'ok') why = await outcome(() => take(sys, n++));
    t.equal(why, 'ENOSPC');
    t.ok(n > 1 && counts.freeBlocks >= 200);
    t.comment(`${n} of them, ${counts.freeBlocks} blocks free, ${alloc.promises.available} of them not promised`);
    t.equal(await outcome(() => sys.fsync(o.cached)), 'ok');
    await sys.fadvise(o.cached, 0, 0, 4);
    const found = await sys.pread(o.cached, 400 * P, 0);
    const lost = Array.from({ length: 200 }, (_, i) => 2 * i).filter((page) => found[page * P] !== 'p'.charCodeAt(0));
    t.same(lost, []);
    await sys.close(fill);
    t.equal(await outcome(() => take(sys, n)), 'ok', 'and there is room again');
    t.same(await ended(o), [0]);
  });
}

t.test('where blocks are free only once a commit is over, pages wait for it', async (t) => {
  const o = await opened();
  const { sys, world } = o;
  const { alloc } = infoOf(world.sb);
  const gone = await sys.open('/gone', O_CREAT | O_RDWR, 0o644);
  await sys.fallocate(gone, 0, 0, MIB);
  await sys.fsync(gone);
  await sys.unlink('/gone');
  await sys.pwrite(o.cached, Buffer.alloc(4 * P, 'p'), 0);
  await sys.close(gone);
  t.ok(alloc.pending > 0);
  // Somebody else was faster than this one's look at what is free.
  const allocate = alloc.allocate.bind(alloc);
  let refused = 0;
  alloc.allocate = (...args) => {
    if (alloc.pending === 0) return allocate(...args);
    refused++;
    throw errno('ENOSPC');
  };
  t.equal(await outcome(() => sys.fsync(o.cached)), 'ok');
  t.ok(refused > 0);
  await sys.fadvise(o.cached, 0, 0, 4);
  t.ok((await sys.pread(o.cached, 4 * P, 0)).equals(Buffer.alloc(4 * P, 'p')));
  t.same(await ended(o), [0]);
});

t.test('a device can be filled with files in pieces, and no piece is lost', async (t) => {
  const o = await opened({ size: 8 * MIB });
  const { sys, world } = o;
  const { alloc, super: counts } = infoOf(world.sb);
  const files: number[] = [];
  let why = 'ok';
  while (why === 'ok') {
    const fd = await sys.open(`/f${files.length}`, O_CREAT | O_RDWR, 0o644);
    files.push(fd);
    // One piece more than the root of its tree has room for.
    for (let page = 0; page < 9 && why === 'ok'; page++) {
      why = await outcome(() => sys.pwrite(fd, Buffer.alloc(P, 'x'), 2 * page * P));
    }
  }
  t.equal(why, 'ENOSPC');
  t.equal(alloc.promises.expected, 0, 'what was not needed was given back before');
  t.ok(counts.freeBlocks < 40, `${counts.freeBlocks} blocks of ${counts.blocks} are free, of ${files.length} files`);
  const outcomes = new Set<string>();
  for (const fd of files) outcomes.add(await outcome(() => sys.fsync(fd)));
  t.same([...outcomes], ['ok']);
  t.same(await ended(o), [0]);
});

t.test('what was promised to trees is given back with the pages', async (t) => {
  const o = await opened();
  const { sys, world } = o;
  const { alloc } = infoOf(world.sb);
  const write = async (from: number): Promise<void> => {
    for (let page = from; page < 40; page += 2) await sys.pwrite(o.cached, Buffer.alloc(P, 'x'), page * P);
  };
  await write(0);
  t.ok(alloc.promises.expected > 0);
  await sys.ftruncate(o.cached, 4 * P);
  t.equal(alloc.promises.expected, 0, 'few have room in the root');
  await sys.ftruncate(o.cached, 0);
  await write(0);
  await sys.fsync(o.cached);
  t.equal(alloc.promises.expected, 0, 'they have their blocks');
  await write(1);
  t.ok(alloc.promises.expected > 0);
  await sys.unlink('/f');
  await sys.close(o.cached);
  await sys.close(o.direct);
  t.equal(alloc.promises.expected, 0, 'nobody wants them any more');
  t.same(await ended(o), [0]);
});
