/** What a mount does after a crash, case by case; crash.test.ts does it by chance. */

import t, { type Test } from 'tap';
import { fput } from '../../src/fs/file-table.js';
import { do_remount } from '../../src/fs/super.js';
import { SB_RDONLY } from '../../src/fs/super-block.js';
import { freeze_super, thaw_super } from '../../src/fs/super-freeze.js';
import { isErrno } from '../../src/sched/errno.js';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from '../../src/uapi/falloc.js';
import { freshImage, problemsOf, World } from './world.js';

const SIZE = 4 << 20;
const none = (): number => 0;
/** Of what was not flushed, everything has reached the device. */
const all = (n: number): number => n - 1;

async function world(): Promise<World> {
  return World.mount(await freshImage(SIZE));
}

/** @param full nearly everything else is in use: what comes next has to take the old file's blocks; otherwise they are only the nearest */
async function freedAndTaken(t: Test, full: boolean): Promise<void> {
  const w = await world();
  await w.create('filler');
  await w.create('old');
  await w.write('old', 0, Buffer.alloc(1 << 20, 1));
  await w.fsync('old');
  if (full) await w.fallocate('filler', 0, 0, 1_700_000);
  await w.sync();
  const before = w.driver.events.length;
  await w.unlink('old');
  await w.create('new');
  await w.write('new', 0, Buffer.alloc(900_000, 2));
  await w.fsync('new');
  t.ok((await w.read('new')).equals(Buffer.alloc(900_000, 2)), 'what was freed is found in the end');
  let kept = 0;
  for (let cut = before; cut <= w.driver.events.length; cut++) {
    const after = await World.mount(w.driver.crash(cut, all));
    if ((await after.list('')).includes('old')) {
      kept++;
      t.ok((await after.read('old')).equals(Buffer.alloc(1 << 20, 1)), `cut ${cut}: whole while it has its name`);
    }
    await after.unmount();
  }
  t.ok(kept > 0);
  await w.unmount();
}

for (const full of [false, true]) {
  t.test(`blocks that were freed are not written to before the commit, full: ${full}`, (t) => freedAndTaken(t, full));
}

t.test('a file without a name that was open is deleted by the next mount', async (t) => {
  const w = await world();
  await w.create('a');
  await w.write('a', 0, Buffer.alloc(100_000, 7));
  await w.sync();
  const free = (await World.mount(w.driver.now)).sb;
  t.ok(free);
  const file = await w.open('a');
  await w.unlink('a');
  await w.sync();
  const image = w.driver.crash(w.driver.events.length, none);
  const after = await World.mount(image);
  t.match(after.said.join('\n'), /deleted 1 orphans/);
  t.same(await after.list(''), []);
  await after.unmount();
  t.same(await problemsOf(after.driver.now), []);
  await fput(w.task, file);
  await w.unmount();
  t.same(await problemsOf(w.driver.now), []);
});

t.test('a truncation of many extents is finished wherever it was cut off', async (t) => {
  const w = await world();
  await w.create('holes');
  for (let block = 0; block < 1200; block += 2) await w.write('holes', block * 4096, Buffer.from('x'));
  await w.sync();
  const before = w.driver.events.length;
  // Commits come in between.
  await Promise.all([w.truncate('holes', 4096), w.sync(w.newTask()), w.sync(w.newTask())]);
  await w.sync();
  const events = w.driver.events.length;
  let finished = 0;
  for (let cut = before; cut <= events; cut += Math.max(1, Math.floor((events - before) / 15))) {
    const after = await World.mount(w.driver.crash(cut, all));
    const found = await after.read('holes');
    t.ok(found.length === 4096 || found.length === 1198 * 4096 + 1, `cut ${cut}: ${found.length} bytes`);
    if (after.said.some((line) => line.includes('finished 1 truncations'))) finished++;
    await after.unmount();
    t.same(await problemsOf(after.driver.now), [], `cut ${cut}`);
  }
  t.ok(finished > 0, 'some were cut off in the middle');
  await w.unmount();
});

for (const mode of [FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE]) {
  t.test(`a size that only dropped pages stood for is kept, mode ${mode}`, async (t) => {
    const w = await world();
    await w.create('a');
    await w.write('a', 0, Buffer.alloc(20_000, 'a'));
    await w.fallocate('a', mode | FALLOC_FL_KEEP_SIZE, 0, 1 << 20);
    await w.unmount();
    t.same(await problemsOf(w.driver.now), []);
    const after = await World.mount(w.driver.now);
    t.ok((await after.read('a')).equals(Buffer.alloc(20_000)));
    await after.unmount();
  });
}

t.test('a read-only mount replays in memory, and writes nothing', async (t) => {
  const w = await world();
  await w.create('a');
  await w.write('a', 0, Buffer.from('hello'));
  await w.fsync('a');
  const image = w.driver.crash(w.driver.events.length, none);
  for (const device of [false, true]) {
    const after = await World.mount(image, SB_RDONLY, device);
    t.match(after.said.join('\n'), /replayed [0-9]+ transactions .*in memory/);
    t.same((await after.read('a')).toString(), 'hello');
    await after.unmount();
    t.same(after.driver.events.filter(({ kind }) => kind === 'write').length, 0, 'nothing was written');
  }
  await w.unmount();
});

t.test('a crash during the recovery is recovered from', async (t) => {
  const w = await world();
  for (let i = 0; i < 20; i++) await w.create(`f${i}`);
  await w.sync();
  for (let i = 0; i < 20; i += 2) await w.unlink(`f${i}`);
  await w.sync();
  const image = w.driver.crash(w.driver.events.length, none);
  const second = await World.mount(image);
  const events = second.driver.events.length;
  t.ok(events > 0);
  for (let cut = 0; cut <= events; cut += 2) {
    let n = cut;
    const choose = (limit: number): number => {
      n = (n * 7 + 3) % 1009;
      return n % limit;
    };
    const third = await World.mount(second.driver.crash(cut, choose));
    t.same((await third.list('')).sort(), Array.from({ length: 10 }, (_, i) => `f${2 * i + 1}`).sort(), `cut ${cut}`);
    await third.unmount();
    t.same(await problemsOf(third.driver.now), [], `cut ${cut}`);
  }
  await second.unmount();
  await w.unmount();
});

t.test('a device that fails makes the filesystem read-only, with one line', async (t) => {
  const w = await world();
  await w.create('a');
  await w.sync();
  w.driver.broken = true;
  await w.create('b');
  await t.rejects(w.fsync('b'), 'fsync tells');
  await t.rejects(w.create('c'), { code: 'EROFS' });
  t.same(w.said.length, 1);
  t.equal(w.said[0], 'crash: the journal was aborted (EIO: broken): the filesystem is read-only from now on');
  t.same((await w.list('')).sort(), ['a', 'b'], 'what is there can still be read');
  await w.unmount();
  const after = await World.mount(w.driver.now);
  t.same(await after.list(''), ['a']);
  await after.unmount();
  t.same(await problemsOf(after.driver.now), []);
});

t.test('what the host says of its own trouble is told once', async (t) => {
  const w = await world();
  await w.create('a');
  w.driver.write = () => {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  };
  await t.rejects(w.fsync('a'));
  t.same(w.said, [
    'crash: the journal was aborted (ENOSPC: no space left on device, write): the filesystem is read-only from now on',
  ]);
  await t.rejects(w.fsync('a'), { code: 'EROFS' });
  await w.unmount();
});

t.test('a torn log ends where it is torn', async (t) => {
  const w = await world();
  await w.create('a');
  await w.fsync('a');
  const good = w.driver.crash(w.driver.events.length, none);
  await w.create('b');
  await w.fsync('b');
  const image = w.driver.crash(w.driver.events.length, none);
  // The last thing that differs is the transaction that made b.
  let last = image.length - 1;
  while (last > 0 && image[last] === good[last]) last--;
  image[last] = (image[last] ?? 0) ^ 0xff;
  const after = await World.mount(image);
  t.same(await after.list(''), ['a']);
  await after.unmount();
  t.same(await problemsOf(after.driver.now), []);
  await w.unmount();
});

t.test('a full filesystem stays whole', async (t) => {
  const w = await world();
  await w.create('big');
  await t.rejects(w.fallocate('big', 0, 0, 16 << 20), { code: 'ENOSPC' });
  let made = 0;
  try {
    for (; made < 5000; made++) await w.create(`f${made}${'x'.repeat(200)}`);
  } catch (error) {
    if (!isErrno(error, 'ENOSPC')) throw error;
  }
  t.ok(made < 5000, `${made} files until it was full`);
  await w.unlink('big');
  await w.create('one more');
  await w.unmount();
  t.same(await problemsOf(w.driver.now), []);
});

t.test('a frozen filesystem can be copied', async (t) => {
  const w = await world();
  await w.create('a');
  await w.write('a', 0, Buffer.from('hello'));
  await freeze_super(w.task, w.sb);
  const copy = w.driver.now;
  await thaw_super(w.task, w.sb);
  t.same(await problemsOf(copy), []);
  const other = await World.mount(copy);
  t.same(other.said, [], 'nothing had to be replayed');
  t.same((await other.read('a')).toString(), 'hello');
  await other.unmount();
  await w.create('b');
  await w.fsync('b');
  const image = w.driver.crash(w.driver.events.length, none);
  t.same(await problemsOf(image), [], 'after the thaw it is in use again');
  await w.unmount();
});

t.test('a remount changes between read-only and not', async (t) => {
  const w = await world();
  await w.create('a');
  await do_remount(w.task, w.sb, SB_RDONLY, '');
  t.same(await problemsOf(w.driver.now), [], 'read-only means clean');
  await t.rejects(w.create('b'), { code: 'EROFS' });
  await do_remount(w.task, w.sb, 0, '');
  await w.create('b');
  await w.fsync('b');
  const image = w.driver.crash(w.driver.events.length, none);
  t.same(await problemsOf(image), []);
  const replayed = await World.mount(image, SB_RDONLY);
  await t.rejects(do_remount(replayed.task, replayed.sb, 0, ''), { code: 'EROFS' }, 'not after a replay in memory');
  await replayed.unmount();
  await w.unmount();
  t.same(await problemsOf(w.driver.now), []);
});
