/** Direct writes that only overwrite hold i_rwsem shared: they run at the same time, and who changes blocks or the end of the file waits for them. */

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type LatchInode, latchInode } from '../../src/latch/inode.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import type { Kiocb } from '../../src/mm/operations.js';
import { ended, type Opened, opened } from './opened.js';

const P = PAGE_SIZE;

interface Slow extends Opened {
  readonly order: string[];
  /** From now on each write to the device takes its time. */
  slow(): void;
}

/** A file of 16 pages of 'o', on the device; behind them 4 that are preallocated, and inside, page 8 is a hole. */
async function started(): Promise<Slow> {
  let slow = false;
  const order: string[] = [];
  const o = await opened({
    faults: ({ op }) => {
      if (!slow || op !== 'write') return undefined;
      order.push('begins');
      return { delay: 50 };
    },
  });
  await o.sys.pwrite(o.cached, Buffer.alloc(16 * P, 'o'), 0);
  await o.sys.fallocate(o.cached, 0, 16 * P, 4 * P);
  await o.sys.fallocate(o.cached, 3, 8 * P, P);
  await o.sys.fsync(o.cached);
  return {
    ...o,
    order,
    slow: () => {
      slow = true;
    },
  };
}

async function inodeOf({ sys, cached, world }: Opened): Promise<LatchInode> {
  const found = world.sb.inodeHash.get((await sys.fstat(cached)).ino);
  if (found === undefined) throw new Error('no inode');
  return latchInode(found);
}

/** Do all at once. @returns in which order they began at the device, and ended */
async function atOnce(s: Slow, bodies: Readonly<Record<string, () => Promise<unknown>>>): Promise<string> {
  s.slow();
  const all = Object.entries(bodies).map(([name, body]) => body().then(() => s.order.push(name)));
  await Promise.all(all);
  return s.order.join(' ');
}

function contents(length: number, pieces: Readonly<Record<number, Buffer>>): Buffer {
  const all = Buffer.alloc(length, 'o')
    .fill(0, 8 * P, 9 * P)
    .fill(0, 16 * P);
  for (const [pos, bytes] of Object.entries(pieces)) bytes.copy(all, Number(pos));
  return all;
}

async function finished(t: Test, s: Slow, pieces: Readonly<Record<number, Buffer>>): Promise<void> {
  t.ok((await s.sys.pread(s.cached, 20 * P, 0)).equals(contents(20 * P, pieces)));
  t.ok((await s.sys.pread(s.direct, 20 * P, 0)).equals(contents(20 * P, pieces)));
  t.same(await ended(s), [0]);
}

t.test('two that overwrite run at the same time', async (t) => {
  const s = await started();
  const [a, b] = [Buffer.alloc(2 * P, 'a'), Buffer.alloc(512, 'b')];
  t.match(
    await atOnce(s, { a: () => s.sys.pwrite(s.direct, a, 0), b: () => s.sys.pwrite(s.direct, b, 3 * P + 512) }),
    /^begins begins /,
  );
  await finished(t, s, { 0: a, [3 * P + 512]: b });
});

t.test('so do two that write whole blocks that were preallocated', async (t) => {
  const s = await started();
  const [a, b] = [Buffer.alloc(P, 'a'), Buffer.alloc(2 * P, 'b')];
  t.match(
    await atOnce(s, { a: () => s.sys.pwrite(s.direct, a, 17 * P), b: () => s.sys.pwrite(s.direct, b, 18 * P) }),
    /^begins begins /,
  );
  await finished(t, s, { [17 * P]: a, [18 * P]: b });
});

for (const [what, pos, length, alone] of [
  ['blocks that are written', P + 512, P, false],
  ['whole blocks that were preallocated', 17 * P, P, false],
  ['a part of a block that was preallocated', 17 * P, 512, true],
  ['a hole', 8 * P, P, true],
  ['what makes the file longer', 19 * P, 2 * P, true],
  ['parts of sectors', P, 700, true],
] as const) {
  t.test(
    `who writes ${what} ${alone ? 'waits for who' : 'does not mind who'} has the file locked shared`,
    async (t) => {
      const s = await started();
      const bytes = Buffer.alloc(length, 'a');
      let done = false;
      const inode = await inodeOf(s);
      let writing: Promise<unknown> = Promise.resolve();
      await s.world.run(async (task) => {
        using _held = await inode.i_rwsem.read(task);
        writing = s.sys.pwrite(s.direct, bytes, pos).then(() => {
          done = true;
        });
        await sleep(50);
        t.equal(done, !alone);
      });
      await writing;
      t.ok((await s.sys.pread(s.cached, length, pos)).equals(bytes));
      t.same(await ended(s), [0]);
    },
  );
}

t.test('a truncation and a write through the cache wait for both', async (t) => {
  const s = await started();
  const bytes = Buffer.alloc(P, 'a');
  const order = await atOnce(s, {
    a: () => s.sys.pwrite(s.direct, bytes, 0),
    b: () => s.sys.pwrite(s.direct, bytes, 4 * P),
    cut: async () => {
      while (s.order.length < 2) await sleep(1);
      await s.sys.ftruncate(s.cached, 4 * P);
    },
    buffered: async () => {
      while (s.order.length < 2) await sleep(1);
      await s.sys.pwrite(s.cached, bytes, 2 * P);
    },
  });
  t.match(order, /^begins begins (a b|b a) (cut buffered|buffered cut)/);
  t.same(await ended(s), [0]);
});

t.test('what is written past the cache is not in it any more', async (t) => {
  const s = await started();
  await s.sys.pread(s.cached, 20 * P, 0);
  await s.sys.pwrite(s.cached, Buffer.alloc(P, 'x'), 5 * P);
  const bytes = Buffer.alloc(2 * P, 'a');
  t.equal(await s.sys.pwrite(s.direct, bytes, 4 * P + 512), 2 * P);
  await finished(t, s, { [4 * P + 512]: bytes });
});

t.test('blocks that a device is sent to are those of a locked file', async (t) => {
  const s = await started();
  const { world } = s;
  const inode = await inodeOf(s);
  const { direct_IO } = inode.i_mapping.a_ops;
  const iocb = { ki_filp: { f_mapping: inode.i_mapping }, ki_pos: 0 } as unknown as Kiocb;
  const write = async (shared: boolean, pos: number): Promise<boolean> => {
    const before = world.violations.length;
    await world.run(async (task) => {
      using _held = shared ? await inode.i_rwsem.read(task) : undefined;
      await direct_IO?.(task, { ...iocb, ki_pos: pos }, IovIter.ofSource(Buffer.alloc(P, 'a')));
    });
    return world.violations.slice(before).some(({ message }) => message.includes('blocks under direct I/O'));
  };
  t.notOk(await write(true, 0));
  t.ok(await write(false, 0), 'not locked');
  t.ok(await write(true, 8 * P), 'a hole gets blocks under a shared lock');
  t.ok(await write(true, 20 * P), 'the file gets longer');
  await ended(s);
});
