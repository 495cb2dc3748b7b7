/** What a crash leaves of files that were replaced without an fsync (auto_da_alloc of ext4). */

import t, { type Test } from 'tap';
import { show_mount_options } from '../../src/fs/namespace.js';
import { latch_fs } from '../../src/latch/super.js';
import { RENAME_WHITEOUT } from '../../src/uapi/fs.js';
import { settle } from './journal/crash-device.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

const SIZE = 4 << 20;
const RUNS = Number(process.env['LATCHFS_CRASH_RUNS'] ?? 5);
const SYNCED = Buffer.alloc(9000, 'o');

async function world(auto_da_alloc = true): Promise<World> {
  return World.mount(await freshImage(SIZE), 0, false, latch_fs({ auto_da_alloc }));
}

/** Time goes by: what is old is committed, and written back. */
async function later(w: World): Promise<void> {
  for (let i = 0; i < 3; i++) {
    w.sched.fireTimers();
    for (let turn = 0; turn < 40; turn++) await settle();
  }
}

/** Make `new` of some pieces, and let it take the name `name`. */
async function replace(w: World, pieces: readonly (readonly [number, Buffer])[], flags = 0): Promise<Buffer> {
  let content = Buffer.alloc(0);
  await w.create('new');
  for (const [pos, bytes] of pieces) {
    await w.write('new', pos, bytes);
    const longer = Buffer.alloc(Math.max(content.length, pos + bytes.length));
    content.copy(longer);
    bytes.copy(longer, pos);
    content = longer;
  }
  await w.rename('new', 'name', flags);
  return content;
}

/** Every moment from `from` on, and what its crash leaves of `name`. */
async function crashes(t: Test, w: World, from: number, see: (found: Buffer, cut: number) => void): Promise<void> {
  const choose = numbers(7);
  const ways: ((n: number) => number)[] = [() => 0, (n) => n - 1, choose];
  for (let cut = from; cut <= w.driver.events.length; cut++) {
    for (const way of ways) {
      const image = w.driver.crash(cut, way);
      const after = await World.mount(image);
      see(await after.read('name'), cut);
      await after.unmount();
      if (way === choose) t.same(await problemsOf(after.driver.now), [], `cut ${cut}`);
    }
  }
}

async function started(auto_da_alloc = true): Promise<World> {
  const w = await world(auto_da_alloc);
  await w.create('name');
  await w.write('name', 0, SYNCED);
  await w.sync();
  return w;
}

for (let run = 0; run < RUNS; run++) {
  const flags = run === 1 ? RENAME_WHITEOUT : 0;
  t.test(`a replaced file holds the old or the new contents, run ${run}`, async (t) => {
    const choose = numbers(run + 1);
    const w = await started();
    if (run > 0) w.driver.delay = () => choose(run * 4);
    const pieces = Array.from(
      { length: run + 1 },
      (_, i) => [i * 3 * choose(9000), Buffer.alloc(1 + choose(20_000), 'a')] as const,
    );
    const from = w.driver.events.length;
    const [content] = await Promise.all([replace(w, pieces, flags), run % 2 === 1 ? w.sync(w.newTask()) : later(w)]);
    await later(w);
    let [old, fresh] = [0, 0];
    await crashes(t, w, from, (found, cut) => {
      if (found.equals(SYNCED)) old++;
      else if (found.equals(content)) fresh++;
      else t.fail(`cut ${cut}: ${found.length} bytes that are neither`);
    });
    t.ok(old > 0 && fresh > 0, `${old} times the old ones, ${fresh} times the new ones`);
    await w.unmount();
  });
}

t.test('who is appended to while it is written back is whole as well', async (t) => {
  const w = await started();
  const from = w.driver.events.length;
  await w.create('new');
  await w.write('new', 0, Buffer.alloc(5000, 'a'));
  w.driver.delay = () => 200;
  const written = w.sync(w.newTask());
  await w.write('new', 5000, Buffer.alloc(100, 'b'));
  await w.rename('new', 'name');
  await written;
  await later(w);
  const content = Buffer.concat([Buffer.alloc(5000, 'a'), Buffer.alloc(100, 'b')]);
  let fresh = 0;
  await crashes(t, w, from, (found, cut) => {
    if (found.equals(content)) fresh++;
    else t.ok(found.equals(SYNCED), `cut ${cut}: ${found.length} bytes`);
  });
  t.ok(fresh > 0);
  await w.unmount();
});

t.test('noauto_da_alloc leaves it to writeback, and then it may be empty', async (t) => {
  const w = await started(false);
  t.match(await show_mount_options(w.task, w.sb), /,noauto_da_alloc/);
  const from = w.driver.events.length;
  await replace(w, [[0, Buffer.alloc(5000, 'a')]]);
  await later(w);
  let empty = 0;
  await crashes(t, w, from, (found) => {
    if (found.length === 0) empty++;
  });
  t.ok(empty > 0);
  await w.unmount();
});

for (const auto of [true, false]) {
  t.test(`what was truncated to nothing is written at its close: ${auto}`, async (t) => {
    const w = await started(auto);
    const wanted = Buffer.alloc(5000, 'a');
    await w.truncate('name', 0);
    await w.write('name', 0, wanted);
    for (let turn = 0; turn < 40; turn++) await settle();
    t.equal(
      w.driver.events.some((e) => e.kind === 'write' && e.bytes.includes(wanted.subarray(0, 4096))),
      auto,
    );
    await w.write('name', 5000, Buffer.alloc(9000, 'b'));
    for (let turn = 0; turn < 40; turn++) await settle();
    t.notOk(
      w.driver.events.some((e) => e.kind === 'write' && e.bytes.includes(Buffer.alloc(4096, 'b'))),
      'once',
    );
    await w.unmount();
  });
}
