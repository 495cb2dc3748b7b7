/** Direct writes to what has no written block: holes, preallocated blocks, and behind the end. */

import t from 'tap';
import type { FaultPolicy } from '../../src/block/faulty-device.js';
import { USRQUOTA } from '../../src/fs/quota/types.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { infoOf } from '../../src/latch/info.js';
import { latchInode } from '../../src/latch/inode.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { O_CREAT, O_DIRECT, O_RDWR } from '../../src/uapi/fcntl.js';
import { Q_GETQUOTA, Q_QUOTAON, Q_SETQUOTA } from '../../src/uapi/quota.js';
import { inodeOf, newWorld, opsCalled, outcome, user } from '../fs/world.js';
import { ended, type Opened, opened } from './opened.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

const P = PAGE_SIZE;
const KEEP = 1;
const MIB = 1 << 20;

const places: readonly [string, number, (sys: Syscalls, fd: number) => Promise<unknown>][] = [
  ['into a hole', 2 * P, (sys, fd) => sys.ftruncate(fd, 12 * P)],
  ['into preallocated blocks', 2 * P, (sys, fd) => sys.fallocate(fd, 0, 0, 12 * P)],
  ['at the end', 0, async () => undefined],
  ['behind the end', 6 * P + 512, (sys, fd) => sys.pwrite(fd, Buffer.alloc(700, 'o'), 0)],
  ['into blocks kept behind the end', 3 * P + 1024, (sys, fd) => sys.fallocate(fd, KEEP, 0, 8 * P)],
  ['over some, and on', P - 512, (sys, fd) => sys.pwrite(fd, Buffer.alloc(P + 100, 'o'), 0)],
];

for (const [name, pos, prepare] of places) {
  for (const length of [4 * P, 1536]) {
    t.test(`${length} bytes ${name} go to the device, and through no page`, async (t) => {
      const o = await opened();
      const { sys, world } = o;
      await prepare(sys, o.cached);
      const { ino, size } = await sys.fstat(o.cached);
      const expected = Buffer.alloc(Math.max(size, pos + length));
      (await sys.pread(o.cached, size, 0)).copy(expected);
      await sys.fsync(o.cached);
      await sys.fadvise(o.cached, 0, 0, 4);
      const bytes = Buffer.alloc(length, 'direct ');
      const called = await opsCalled(world, () => sys.pwrite(o.direct, bytes, pos));
      t.ok(called.includes('direct_IO'));
      t.notOk(called.includes('write_begin'), 'not through the cache');
      bytes.copy(expected, pos);
      t.equal((await sys.fstat(o.cached)).size, expected.length);
      const inode = latchInode(world.sb.inodeHash.get(ino) ?? inodeOf(world.root));
      t.equal(inode.i_disksize, expected.length, 'on the device as well');
      for (let block = Math.floor(pos / P); block * P < pos + length; block++) {
        const found = await world.run((task) => inode.extents.find(task, block));
        t.match(found, { unwritten: false }, `block ${block}`);
      }
      t.ok((await sys.pread(o.direct, 20 * P, 0)).equals(expected), 'read directly');
      t.ok((await sys.pread(o.cached, 20 * P, 0)).equals(expected), 'read through the cache');
      t.equal(infoOf(world.sb).super.orphan, 0);
      t.same(await ended(o), [0]);
    });
  }
}

t.test('who reads through the cache meanwhile sees zeroes or what is written, and afterwards what was', async (t) => {
  let slow = false;
  const faults: FaultPolicy = ({ op }) => (slow && op === 'write' ? { delay: 5 } : undefined);
  const o = await opened({ faults });
  const { sys, world } = o;
  // The blocks have held something, so that it would show.
  await sys.pwrite(o.cached, Buffer.alloc(64 * P, 'STALE'), 0);
  await sys.fsync(o.cached);
  await sys.ftruncate(o.cached, 0);
  await sys.ftruncate(o.cached, 64 * P);
  slow = true;
  let done = false;
  const writing = sys.pwrite(o.direct, Buffer.alloc(64 * P, 'N'), 0).finally(() => {
    done = true;
  });
  let reads = 0;
  while (!done) {
    const seen = await sys.pread(o.cached, 64 * P, 0);
    t.notOk(seen.some((byte) => byte !== 0 && byte !== 'N'.charCodeAt(0)));
    reads++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await writing;
  t.ok(reads > 1, 'somebody has read meanwhile');
  t.ok((await sys.pread(o.cached, 64 * P, 0)).equals(Buffer.alloc(64 * P, 'N')));
  slow = false;
  t.equal(world.violations.length, 0);
  t.same(await ended(o), [0]);
});

const free = ({ world }: Opened): number => infoOf(world.sb).alloc.promises.available;

t.test('without room nothing is written, and what was promised to pages is not taken', async (t) => {
  const o = await opened({ size: 8 * MIB });
  const { sys } = o;
  const page = await sys.open('/promised', O_CREAT | O_RDWR, 0o644);
  const promised = Buffer.alloc(3 * MIB, 'p');
  t.equal(await sys.pwrite(page, promised, 0), promised.length);
  const before = free(o);
  t.equal(await outcome(() => sys.pwrite(o.direct, Buffer.alloc(6 * MIB, 'x'), 0)), 'ENOSPC');
  t.equal((await sys.fstat(o.direct)).size, 0);
  t.equal((await sys.fstat(o.direct)).blocks, 0);
  t.equal(free(o), before);
  let size = 0;
  while ((await outcome(() => sys.pwrite(o.direct, Buffer.alloc(64 * 1024, 'x'), size))) === 'ok') size += 64 * 1024;
  t.ok(size > 2 * MIB, 'it can be filled all the same');
  await sys.fsync(page);
  await sys.fadvise(page, 0, 0, 4);
  t.ok((await sys.pread(page, promised.length, 0)).equals(promised));
  t.same(await ended(o), [0]);
});

t.test('preallocation takes nothing that was promised to pages either', async (t) => {
  const o = await opened({ size: 8 * MIB });
  const { sys } = o;
  const page = await sys.open('/promised', O_CREAT | O_RDWR, 0o644);
  const promised = Buffer.alloc(3 * MIB, 'p');
  t.equal(await sys.pwrite(page, promised, 0), promised.length);
  t.equal(await outcome(() => sys.fallocate(o.cached, 0, 0, 6 * MIB)), 'ENOSPC');
  t.ok((await sys.fstat(o.cached)).blocks > 2 * 2048, 'with what there was room for');
  t.equal(await outcome(() => sys.fsync(page)), 'ok');
  await sys.fadvise(page, 0, 0, 4);
  t.ok((await sys.pread(page, promised.length, 0)).equals(promised));
  t.same(await ended(o), [0]);
});

t.test('where the device fails the file is as long as before, and has no more blocks', async (t) => {
  let broken = false;
  const o = await opened({ faults: ({ op }) => (broken && op === 'write' ? { error: 'EIO' } : undefined) });
  const { sys, world } = o;
  await sys.pwrite(o.direct, Buffer.alloc(2 * P, 'a'), 0);
  const before = await sys.fstat(o.direct);
  const room = free(o);
  broken = true;
  t.equal(await outcome(() => sys.pwrite(o.direct, Buffer.alloc(8 * P, 'b'), 2 * P)), 'EIO');
  t.match(await sys.fstat(o.direct), { size: before.size, blocks: before.blocks });
  t.equal(free(o), room);
  t.equal(infoOf(world.sb).super.orphan, 0);
  await sys.ftruncate(o.cached, 20 * P);
  t.equal(await outcome(() => sys.pwrite(o.direct, Buffer.alloc(2 * P, 'b'), 5 * P)), 'EIO');
  broken = false;
  t.ok((await sys.pread(o.direct, 20 * P, 0)).equals(Buffer.concat([Buffer.alloc(2 * P, 'a'), Buffer.alloc(18 * P)])));
  await sys.pwrite(o.direct, Buffer.alloc(2 * P, 'c'), 5 * P);
  t.equal((await sys.pread(o.cached, 1, 6 * P)).toString(), 'c');
  t.same(await ended(o), [0]);
});

t.test('blocks are charged', async (t) => {
  const world = await newWorld({ quota: true });
  const processes = [new Process(world.sb), new Process(world.sb, { cred: user(7, 7) })] as const;
  const [root, sys] = [syscalls(processes[0]), syscalls(processes[1])];
  await root.quotactl(Q_QUOTAON, USRQUOTA, world.sb);
  await root.chmod('/', 0o777);
  await root.quotactl(Q_SETQUOTA, USRQUOTA, world.sb, 7, { dqb_bhardlimit: 64 });
  const fd = await sys.open('/f', O_CREAT | O_RDWR | O_DIRECT, 0o644);
  await sys.pwrite(fd, Buffer.alloc(8 * P, 'x'), 0);
  t.match(await root.quotactl(Q_GETQUOTA, USRQUOTA, world.sb, 7), { dqb_curspace: 8 * P });
  t.equal(await outcome(() => sys.pwrite(fd, Buffer.alloc(9 * P, 'x'), 8 * P)), 'EDQUOT');
  t.match(await root.quotactl(Q_GETQUOTA, USRQUOTA, world.sb, 7), { dqb_curspace: 8 * P }, 'nothing is kept');
  t.equal((await sys.fstat(fd)).size, 8 * P);
  t.equal(await outcome(() => sys.pwrite(fd, Buffer.alloc(8 * P, 'x'), 8 * P)), 'ok');
  for (const process of processes) await process.exit();
  t.equal(await world.end(), 0);
});

const OLD = Buffer.alloc(5 * P + 700, 'old ');

for (const [name, pos, length] of [
  ['into a hole', 2 * P + 512, 2 * P],
  ['across the end', 5 * P, 6 * P],
  ['in sectors behind the end', 8 * P + 512, P],
] as const) {
  t.test(`a crash at any moment of a write ${name}: what was, zeroes, or what is written`, async (t) => {
    const world = await World.mount(await freshImage(4 * MIB, {}, 'STALE'));
    await world.create('/f');
    await world.write('/f', 0, OLD);
    await world.fallocate('/f', 3, 2 * P, 3 * P);
    await world.fsync('/f');
    const before = await world.read('/f');
    const start = world.driver.events.length;
    const bytes = Buffer.alloc(length, 'NEW!');
    // What is mapped is committed before the data are there.
    world.driver.delay = () => 30;
    const syncer = world.newTask();
    const writing = world.write('/f', pos, bytes, world.task, O_RDWR | O_DIRECT);
    for (let i = 0; i < 20; i++) await undefined;
    await Promise.all([writing, world.sync(syncer)]);
    world.driver.delay = undefined;
    await world.fsync('/f');
    const end = world.driver.events.length;
    const after = Buffer.alloc(Math.max(before.length, pos + length));
    before.copy(after);
    bytes.copy(after, pos);
    let mixed = 0;
    for (let cut = start; cut <= end; cut++) {
      for (let seed = 1; seed <= 4; seed++) {
        const image = world.driver.crash(cut, numbers(seed));
        const again = await World.mount(image);
        const content = await again.read('/f');
        const blocks = await again.at('/f', ({ d_inode }) => d_inode?.i_blocks ?? 0);
        if (blocks > Math.ceil(content.length / P) * 8) t.fail(`cut ${cut}: blocks behind the end`);
        // What lay behind the end must not come back.
        const grown = Math.max(content.length, 14 * P);
        await again.write('/f', grown, Buffer.alloc(512, 'z'), again.task, O_RDWR | O_DIRECT);
        const whole = await again.read('/f');
        if (!whole.subarray(content.length, grown).equals(Buffer.alloc(grown - content.length))) {
          t.fail(`cut ${cut}: not zeroes behind the end`);
        }
        await again.unmount();
        t.same(await problemsOf(again.driver.now), []);
        if (content.equals(before) || content.equals(after)) continue;
        // The size is that of before or after; with the new one all of the data are there.
        if (content.length > before.length) t.fail(`cut ${cut}: the size came before the data`);
        mixed++;
        for (let at = 0; at < content.length; at += 512) {
          const sector = content.subarray(at, at + 512);
          const same = (other: Buffer): boolean =>
            sector.equals(other.subarray(at, at + 512).subarray(0, sector.length));
          if (!same(before) && !same(after)) t.fail(`cut ${cut}: ${at}: ${sector.toString('latin1', 0, 8)}`);
        }
      }
    }
    t.comment(`${end - start} moments, ${mixed} of them half done`);
    await world.unmount();
  });
}
