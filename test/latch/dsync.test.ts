/** O_DSYNC, O_SYNC, RWF_DSYNC and RWF_SYNC: when the write returns, data and size survive any crash, and without one of them nothing has to. */

import t from 'tap';
import { fput } from '../../src/fs/file-table.js';
import { vfs_iter_write, type WriteOptions } from '../../src/fs/read-write.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { O_DIRECT, O_DSYNC, O_RDWR, O_SYNC } from '../../src/uapi/fcntl.js';
import { freshImage, problemsOf, World } from './world.js';

const P = 4096;
/** Of what was not flushed, nothing has reached the device. */
const none = (): number => 0;
const BASE = Buffer.alloc(2 * P, 'a');

const ways: readonly [string, number, WriteOptions, boolean][] = [
  ['O_DSYNC', O_DSYNC, {}, true],
  ['O_SYNC', O_SYNC, {}, true],
  ['RWF_DSYNC', 0, { sync: 'dsync' }, true],
  ['RWF_SYNC', 0, { sync: 'sync' }, true],
  ['O_DIRECT with O_DSYNC', O_DIRECT | O_DSYNC, {}, true],
  ['no flag', 0, {}, false],
  ['O_DIRECT alone', O_DIRECT, {}, false],
];
const places: readonly [string, number, number][] = [
  ['over what is there', 0, P],
  ['into preallocated blocks', 16 * P, P],
  ['into a hole', 8 * P, 2 * P],
  ['behind the end', 33 * P, 2 * P],
  ['half of a page behind the end', 36 * P, 512],
];

for (const [name, flags, options, safe] of ways) {
  t.test(name, async (t) => {
    const world = await World.mount(await freshImage(8 << 20, {}, 'STALE'));
    await world.create('/f');
    await world.write('/f', 0, BASE);
    await world.fallocate('/f', 0, 16 * P, 16 * P);
    await world.sync();
    const file = await world.open('/f', world.task, O_RDWR | flags);
    const expected = Buffer.alloc(64 * P);
    BASE.copy(expected);
    let lost = 0;
    for (const [where, pos, length] of places) {
      const bytes = Buffer.alloc(length, where);
      t.equal(await vfs_iter_write(world.task, file, IovIter.ofSource(bytes), pos, options), length);
      bytes.copy(expected, pos);
      const crashed = await World.mount(world.driver.crash(world.driver.events.length, none));
      const content = await crashed.read('/f');
      await crashed.unmount();
      t.same(await problemsOf(crashed.driver.now), []);
      const there = content.equals(expected.subarray(0, file.f_inode.i_size));
      if (safe) t.ok(there, where);
      else if (!there) lost++;
    }
    if (!safe) t.ok(lost > 0, 'they can be lost');
    await fput(world.task, file);
    await world.unmount();
  });
}
