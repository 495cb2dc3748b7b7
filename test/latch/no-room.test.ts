/** Whatever finds no room, after any number of blocks, leaves things as they were; what takes things away needs none. */

import t from 'tap';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { infoOf } from '../../src/latch/info.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { outcome } from '../fs/world.js';
import { settle } from './journal/crash-device.js';
import { baseImage, changes, look, type Op, treeOf } from './sequences.js';
import { problemsOf, World } from './world.js';

/** NO_ROOM=5 tries all calls, with up to 4 blocks left. */
const MOST = Number(process.env['NO_ROOM'] ?? 2);
/** These are all or nothing. */
const WHOLE = /^(create|mkdir|link|symlink|rename|exchange|setxattr|chown|chmod|removexattr)/;
const TAKES_AWAY = /^(unlink|rmdir|truncate \/old 0|removexattr|chmod)/;

/** @returns what the operation came to, and what is wrong */
async function filled(image: Buffer, free: number, each: Op): Promise<{ why: string; wrong: string[] }> {
  const wrong: string[] = [];
  const world = await World.mount(image);
  const user = new Process(world.sb);
  const sys = syscalls(user);
  const { alloc } = infoOf(world.sb);
  // What the operation is about, and a directory and attributes whose trees have no room left.
  const ready = ['create /foo', 'mkdir /A/C', 'create /A/foo'].filter((name) => name !== each.name);
  for (const one of changes) if (ready.includes(one.name)) await one.run(sys, world, 1);
  if (/mkdir|rename \/A \/B/.test(each.name)) await outcome(() => sys.rmdir('/A/C'));
  for (let i = 0; i < 3; i++)
    await sys.mkdir(`/A/${i}${'n'.repeat(200)}`, 0o755).then(() => sys.rmdir(`/A/${i}${'n'.repeat(200)}`));
  await sys.sync();
  const fill = await sys.open('/fill', O_CREAT | O_RDWR, 0o600);
  await outcome(() => sys.fallocate(fill, 1, 0, alloc.promises.available * PAGE_SIZE));
  await sys.sync();
  // The last ones are kept for metadata: each of these takes one.
  for (let i = 0; alloc.promises.available > free && i < 100; i++)
    await sys.setxattr('/fill', `user.${i}`, Buffer.alloc(2000));
  await sys.sync();
  const before = await look(sys);
  const had = alloc.promises.available;
  const why = await outcome(() => each.run(sys, world, 100));
  if (why !== 'ok' && why !== 'ENOSPC' && !/ENOENT|ENOTEMPTY|EEXIST|ENODATA|EINVAL/.test(why))
    wrong.push(`it fails with ${why}`);
  if (why === 'ENOSPC' && TAKES_AWAY.test(each.name)) wrong.push('it takes things away and finds no room');
  if (why === 'ENOSPC' && WHOLE.test(each.name)) {
    if (treeOf(await look(sys)) !== treeOf(before))
      wrong.push(`there was\n${treeOf(before)}\nand there is\n${treeOf(await look(sys))}`);
    await sys.sync();
    if (alloc.promises.available !== had) wrong.push(`${had} blocks were free, and now ${alloc.promises.available}`);
  }
  await sys.sync();
  await settle();
  await sys.close(fill);
  await sys.unlink('/fill');
  await sys.sync();
  if (why === 'ENOSPC') {
    const again = await outcome(() => each.run(sys, world, 100));
    if (again === 'ENOSPC') wrong.push('there is room again, and it finds none');
  }
  await user.exit();
  const busy = await world.unmount();
  if (busy > 0) wrong.push(`${busy} inodes are in use after the unmount`);
  wrong.push(...(await problemsOf(world.driver.now)), ...world.said);
  return { why, wrong: wrong.map((what) => `${each.name} with ${had} blocks, after ${why}: ${what}`) };
}

for (let free = 0; free < MOST; free++) {
  t.test(`an operation that finds no room changes nothing, with ${free} blocks left`, async (t) => {
    const image = await baseImage();
    const refused: string[] = [];
    for (const each of changes) {
      if (!WHOLE.test(each.name) && !TAKES_AWAY.test(each.name) && MOST < 5) continue;
      const { why, wrong } = await filled(image, free, each);
      for (const what of wrong) t.fail(what);
      if (why === 'ENOSPC') refused.push(each.name);
    }
    t.comment(refused.join(', '));
    t.ok(refused.length > (free === 0 ? 3 : 0) || free > 2);
  });
}
