/** FS_IOC_GETFSLABEL and FS_IOC_SETFSLABEL: as ext4 answers them, and in the superblock and its copy alike. */

import t from 'tap';
import { SB_RDONLY } from '../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { copyBlock, fieldsOf } from '../../src/latch/format/superblock.js';
import { O_DIRECTORY } from '../../src/uapi/fcntl.js';
import { FS_IOC_GETFSLABEL, FS_IOC_SETFSLABEL } from '../../src/uapi/ioctl.js';
import { outcome, user } from '../fs/world.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

const MIB = 1 << 20;

const argument = (label: string): Buffer => Buffer.from(label.padEnd(256, '\0'), 'latin1');

/** Run `body` with the root directory open. */
async function inRoot(
  world: World,
  body: (sys: Syscalls, root: number) => Promise<void>,
  cred = user(0),
): Promise<void> {
  const process = new Process(world.sb, { cred });
  const sys = syscalls(process);
  await body(sys, await sys.open('/', O_DIRECTORY));
  await process.exit();
}

async function labelOf(sys: Syscalls, root: number): Promise<string> {
  const answer = await sys.ioctl(root, FS_IOC_GETFSLABEL, Buffer.alloc(256));
  return Buffer.from(answer).toString('latin1').replace(/\0+$/, '');
}

t.test('the label is told and changed, and is there after the next mount', async (t) => {
  const world = await World.mount(await freshImage(8 * MIB, { label: 'made' }));
  await inRoot(world, async (sys, root) => {
    t.equal(await labelOf(sys, root), 'made');
    await sys.ioctl(root, FS_IOC_SETFSLABEL, argument('sixteen bytes ok'));
    t.equal(await labelOf(sys, root), 'sixteen bytes ok', 'as long as it may be');
    t.equal(await outcome(() => sys.ioctl(root, FS_IOC_SETFSLABEL, argument('seventeen bytes..'))), 'EINVAL');
    t.equal(await outcome(() => sys.ioctl(root, FS_IOC_SETFSLABEL, Buffer.alloc(16))), 'EFAULT');
    await sys.ioctl32(root, FS_IOC_SETFSLABEL, argument('new'));
    t.equal(await labelOf(sys, root), 'new', 'nothing of the longer one is left');
  });
  await inRoot(
    world,
    async (sys, root) => {
      t.equal(await outcome(() => sys.ioctl(root, FS_IOC_SETFSLABEL, argument('x'))), 'EPERM');
      t.equal(await labelOf(sys, root), 'new', 'everybody may ask');
    },
    user(7),
  );
  await world.unmount();
  const image = world.driver.now;
  t.same(await problemsOf(image), [], 'the copy has it, too');
  t.equal(fieldsOf(image.subarray(copyBlock(8 * (MIB / 4096)) * 4096)).label, 'new');
  const reader = await World.mount(image, SB_RDONLY);
  await inRoot(reader, async (sys, root) => {
    t.equal(await labelOf(sys, root), 'new');
    t.equal(await outcome(() => sys.ioctl(root, FS_IOC_SETFSLABEL, argument('x'))), 'EROFS');
  });
  await reader.unmount();
});

t.test('a crash leaves the old label or the new one, in both places', async (t) => {
  const world = await World.mount(await freshImage(8 * MIB, { label: 'old' }));
  const start = world.driver.events.length;
  await inRoot(world, async (sys, root) => {
    await sys.ioctl(root, FS_IOC_SETFSLABEL, argument('new'));
  });
  await world.sync();
  await world.unmount();
  const seen = new Set<string>();
  for (let cut = start; cut <= world.driver.events.length; cut++) {
    const again = await World.mount(world.driver.crash(cut, numbers(cut)));
    await again.unmount();
    t.same(await problemsOf(again.driver.now), []);
    seen.add(fieldsOf(again.driver.now).label);
  }
  t.same([...seen], ['old', 'new']);
});
