/** I/O past the page cache: what it reads and writes is what the cache would, and who changes the file meanwhile waits. */

import fc from 'fast-check';
import t from 'tap';
import type { FaultPolicy } from '../../src/block/faulty-device.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { SWP_FS_OPS } from '../../src/mm/swap-info.js';
import { shrink_node } from '../../src/mm/vmscan.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { RWF_HIPRI, RWF_NOWAIT } from '../../src/uapi/fs.js';
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.js';
import { opsCalled, outcome, type World } from '../fs/world.js';
import { calledBy, ended, type Opened, opened, pages } from './opened.js';

const P = PAGE_SIZE;
const RW = PROT_READ | PROT_WRITE;

t.test('a direct read leaves no page, a direct write no old one', async (t) => {
  const o = await opened();
  const { sys, world } = o;
  await sys.pwrite(o.cached, Buffer.alloc(20 * P, 'abcdefg'), 0);
  const { ino } = await sys.fstat(o.cached);
  t.same(
    (await opsCalled(world, () => sys.pread(o.direct, 3000, 512))).filter((op) => /direct_IO|read|writepages/.test(op)),
    ['read_iter', 'writepages', 'direct_IO'],
    'what is dirty is written first',
  );
  await sys.fsync(o.cached);
  await sys.fadvise(o.cached, 0, 0, 4);
  t.equal(pages(o, ino), 0);
  t.ok((await sys.pread(o.direct, 9000, 512)).equals(Buffer.alloc(9512, 'abcdefg').subarray(512)));
  t.equal(pages(o, ino), 0, 'the cache knows nothing of it');
  await sys.pread(o.cached, 20 * P, 0);
  const called = await opsCalled(world, () => sys.pwrite(o.direct, Buffer.alloc(2 * P, 'X'), 3 * P));
  t.ok(called.includes('direct_IO') && !called.includes('write_begin'));
  t.equal(pages(o, ino), 18);
  t.equal(
    (await sys.pread(o.cached, 4, 5 * P - 2)).toString(),
    `XX${Buffer.alloc(5 * P + 2, 'abcdefg').toString('latin1', 5 * P)}`,
  );
  t.equal((await sys.pread(o.direct, 100, 20 * P)).length, 0);
  t.equal((await sys.pread(o.direct, 2 * P, 19 * P)).length, P, 'up to the end');
  t.equal(
    (await sys.pread(o.direct, 10, 7)).toString(),
    'abcdefgabc',
    'what is not of sectors comes through the cache',
  );
  t.same(await ended(o), [0]);
});

type Step =
  | { readonly kind: 'write' | 'read'; readonly direct: boolean; readonly pos: number; readonly length: number }
  | { readonly kind: 'truncate'; readonly pos: number }
  | { readonly kind: 'allocate' | 'punch'; readonly pos: number; readonly length: number };

const SPAN = 12 * P;
const place = fc.oneof(
  fc.integer({ min: 0, max: 12 }).map((page) => page * P),
  fc.integer({ min: 0, max: 96 }).map((sector) => sector * 512),
  fc.integer({ min: 0, max: SPAN }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom('write', 'read'), direct: fc.boolean(), pos: place, length: place }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('truncate'), pos: place }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('allocate', 'punch'), pos: place, length: place }) },
);

/** Do it to the file and to its model. @returns what differs */
async function play({ sys, direct, cached }: Opened, steps: readonly Step[]): Promise<string | undefined> {
  let model = Buffer.alloc(0);
  const grow = (size: number): void => {
    if (size > model.length) model = Buffer.concat([model, Buffer.alloc(size - model.length)]);
  };
  for (const [i, s] of steps.entries()) {
    if (s.kind === 'write') {
      const bytes = Buffer.alloc(s.length, `${i}:`);
      const written = await sys.pwrite(s.direct ? direct : cached, bytes, s.pos);
      if (written !== s.length) return `step ${i} has written ${written}`;
      if (s.length > 0) grow(s.pos + s.length);
      bytes.copy(model, s.pos);
    } else if (s.kind === 'read') {
      const got = await sys.pread(s.direct ? direct : cached, s.length, s.pos);
      if (!got.equals(model.subarray(s.pos, s.pos + s.length))) return `step ${i}`;
    } else if (s.kind === 'truncate') {
      await sys.ftruncate(cached, s.pos);
      if (s.pos < model.length) model = model.subarray(0, s.pos);
      else grow(s.pos);
    } else if (s.length > 0) {
      await sys.fallocate(cached, s.kind === 'punch' ? 3 : 0, s.pos, s.length);
      if (s.kind === 'punch') model.fill(0, s.pos, Math.min(model.length, s.pos + s.length));
      else grow(s.pos + s.length);
    }
  }
  const all = await sys.pread(direct, 2 * SPAN, 0);
  return all.equals(model) ? undefined : 'at the end';
}

for (const [name, faults] of [
  ['at once', undefined],
  ['after a while', (({ nth }) => (nth % 3 === 0 ? { delay: 0 } : undefined)) as FaultPolicy],
] as const) {
  t.test(`a device that answers ${name}: the same as through the cache`, async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const o = await opened(faults === undefined ? { size: 8 << 20 } : { size: 8 << 20, faults });
        const wrong = await play(o, steps);
        const rest = await ended(o);
        if (wrong !== undefined || rest.length > 1 || rest[0] !== 0) throw new Error(`${wrong} ${rest.join('; ')}`);
      }),
      { numRuns: 40 },
    );
    t.pass();
  });
}

t.test('a read that is polled for, and a truncation that waits for it', async (t) => {
  let slow = false;
  const o = await opened({ faults: ({ op }) => (slow && op === 'read' ? { delay: 5 } : undefined) });
  const { sys, world } = o;
  await sys.pwrite(o.cached, Buffer.alloc(8 * P, 'poll'), 0);
  await sys.fsync(o.cached);
  t.same(
    await calledBy(world, () => sys.preadv2(o.cached, P, 0, RWF_HIPRI)),
    ['read_iter'],
    'through the cache: nothing to poll',
  );
  slow = true;
  const order: string[] = [];
  const reading = sys.preadv2(o.direct, 8 * P, 0, RWF_HIPRI).then((bytes) => {
    order.push('read');
    return bytes;
  });
  const cutting = sys.ftruncate(o.cached, 0).then(() => order.push('cut'));
  t.ok((await reading).equals(Buffer.alloc(8 * P, 'poll')));
  await cutting;
  t.same(order, ['read', 'cut']);
  slow = false;
  await sys.pwrite(o.cached, Buffer.alloc(P, 'x'), 0);
  await sys.fsync(o.cached);
  t.same(await calledBy(world, () => sys.preadv2(o.direct, P, 0, RWF_HIPRI)), ['read_iter', 'direct_IO', 'iopoll']);
  await world.run(async (task) => {
    const { ino } = await sys.fstat(o.cached);
    using _writer = await world.sb.inodeHash.get(ino)?.i_rwsem.write(task);
    t.equal(await outcome(() => sys.preadv2(o.direct, P, 0, RWF_NOWAIT)), 'EAGAIN', 'while somebody writes');
  });
  t.same(await ended(o), [0]);
});

t.test('an error of the device is an error of the read', async (t) => {
  let broken = false;
  const o = await opened({ faults: ({ op }) => (broken && op === 'read' ? { error: 'EIO' } : undefined) });
  const { sys } = o;
  await sys.pwrite(o.cached, Buffer.alloc(8 * P, 'x'), 0);
  await sys.fsync(o.cached);
  broken = true;
  t.equal(await outcome(() => sys.pread(o.direct, P, 0)), 'EIO');
  t.equal(await outcome(() => sys.preadv2(o.direct, P, 0, RWF_HIPRI)), 'EIO');
  broken = false;
  t.same(await ended(o), [0]);
});

async function reclaim(world: World): Promise<void> {
  const { memory } = world.machine;
  for (let pass = 0; pass < 4; pass++) await world.run((task) => shrink_node(task, memory, memory.nr_pages, 0));
}

t.test('a swap file in many pieces is swapped to through the filesystem', async (t) => {
  const o = await opened();
  const { sys, world } = o;
  const other = await sys.open('/g', O_CREAT | O_RDWR, 0o644);
  // Blocks of two files by turns.
  for (let page = 0; page < 200; page++) {
    await sys.fallocate(o.cached, 0, page * P, P);
    await sys.fallocate(other, 0, page * P, P);
  }
  await sys.fsync(o.cached);
  await sys.swapon(o.cached);
  const [area] = world.machine.memory.swap;
  t.equal((area?.flags ?? 0) & SWP_FS_OPS, SWP_FS_OPS);
  t.equal(area?.extents.length, 1);
  const at = await sys.mmap(0, 80 * P, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  await sys.store(at, Buffer.alloc(80 * P, 'in many pieces '));
  const out = await opsCalled(world, () => reclaim(world));
  t.equal(out.filter((op) => op === 'swap_rw').length, 80);
  t.equal(area?.inuse_pages, 80);
  const inCalls = await opsCalled(world, async () => {
    t.ok((await sys.load(at, 80 * P)).equals(Buffer.alloc(80 * P, 'in many pieces ')));
  });
  t.equal(inCalls.filter((op) => op === 'swap_rw').length, 80);
  await sys.store(at, Buffer.alloc(80 * P, 'again'));
  await reclaim(world);
  t.equal(await outcome(() => sys.pwrite(o.cached, Buffer.from('x'), 0)), 'ETXTBSY');
  t.equal(await outcome(() => sys.ftruncate(o.cached, 0)), 'ETXTBSY');
  t.ok((await opsCalled(world, () => sys.swapoff(o.cached))).includes('swap_deactivate'));
  t.ok((await sys.load(at, 80 * P)).equals(Buffer.alloc(80 * P, 'again')));
  await sys.swapon(other);
  await sys.swapoff(other);
  await sys.ftruncate(o.cached, 0);
  await sys.ftruncate(o.cached, 20 * P);
  t.equal(await outcome(() => sys.swapon(o.cached)), 'EINVAL', 'a hole');
  t.same(await ended(o), [0], 'no buffer is kept');
});
