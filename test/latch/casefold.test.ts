/** Directories whose names are without regard to case: chattr +F, as on ext4. */

import fc from 'fast-check';
import t, { type Test } from 'tap';
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../src/fs/drop-caches.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { INCOMPAT_CASEFOLD } from '../../src/latch/format/superblock.js';
import { infoOf } from '../../src/latch/info.js';
import { O_CREAT, O_DIRECTORY, O_EXCL, O_RDWR } from '../../src/uapi/fcntl.js';
import { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../src/uapi/ioctl.js';
import { newWorld, outcome, type World } from '../fs/world.js';
import { freshImage, World as ImageWorld, problemsOf } from './world.js';

const CASEFOLD = 0x40000000;

async function withSys(t: Test, body: (sys: Syscalls, world: World) => Promise<void>): Promise<void> {
  const world = await newWorld();
  const process = new Process(world.sb);
  await body(syscalls(process), world);
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
}

async function chattr(sys: Syscalls, path: string, flags: number): Promise<void> {
  const fd = await sys.open(path, O_DIRECTORY);
  const arg = Buffer.alloc(4);
  arg.writeUInt32LE(flags);
  try {
    await sys.ioctl(fd, FS_IOC_SETFLAGS, arg);
  } finally {
    await sys.close(fd);
  }
}

async function list(sys: Syscalls, path: string): Promise<string[]> {
  const fd = await sys.open(path, O_DIRECTORY);
  const found = await sys.getdents(fd);
  await sys.close(fd);
  return found
    .map(({ name }) => name)
    .filter((name) => name !== '.' && name !== '..')
    .sort();
}

async function forget(sys: Syscalls, { run, sb }: World): Promise<void> {
  await sys.sync();
  for (let i = 0; i < 2; i++) await run((task) => drop_caches(task, sb, DROP_PAGECACHE | DROP_SLAB));
}

t.test('a name is found however it is written, and kept as it was', async (t) => {
  await withSys(t, async (sys, world) => {
    await sys.mkdir('/d', 0o755);
    t.equal(await outcome(() => sys.stat('/d/foo')), 'ENOENT', 'which is known now');
    await chattr(sys, '/d', CASEFOLD);
    await sys.close(await sys.open('/d/FOO', O_CREAT | O_EXCL | O_RDWR, 0o644));
    const { ino } = await sys.stat('/d/foo');
    t.equal((await sys.stat('/d/Foo')).ino, ino);
    t.equal(await outcome(() => sys.open('/d/fOO', O_CREAT | O_EXCL, 0o644)), 'EEXIST');
    t.equal(await outcome(() => sys.mkdir('/d/foo', 0o755)), 'EEXIST');
    t.same(await list(sys, '/d'), ['FOO']);
    await forget(sys, world);
    t.equal((await sys.stat('/d/foo')).ino, ino, 'and from the device');
    t.equal(await sys.stat('/D').catch(() => undefined), undefined, 'elsewhere case matters');
    await sys.link('/d/foo', Buffer.from('/d/Straße', 'utf8').toString('latin1'));
    t.equal((await sys.stat('/d/STRASSE')).nlink, 2);
    await sys.rename('/d/fOo', '/d/bar');
    t.equal(await outcome(() => sys.stat('/d/FOO')), 'ENOENT');
    await sys.rename('/d/BAR', '/d/baR');
    t.same((await list(sys, '/d')).length, 2);
    await sys.unlink('/d/Bar');
    await sys.close(await sys.open('/d/bAR', O_CREAT | O_RDWR, 0o644));
    t.ok((await list(sys, '/d')).includes('bAR'), 'a new file has the name that was asked for');
    await sys.unlink('/d/BAR');
    await sys.unlink('/d/STRASSE');
    await sys.rmdir('/d');
  });
});

t.test('the flag: of empty directories, inherited by directories, where the filesystem knows it', async (t) => {
  await withSys(t, async (sys, { sb }) => {
    await sys.mkdir('/d', 0o755);
    await chattr(sys, '/d', CASEFOLD);
    await sys.mkdir('/d/Sub', 0o755);
    await sys.mkdir('/d/sub/Deep', 0o755);
    t.equal((await sys.stat('/d/SUB/deep')).ino, (await sys.stat('/d/sub/Deep')).ino);
    const fd = await sys.open('/d/SUB', O_DIRECTORY);
    t.equal((await sys.ioctl(fd, FS_IOC_GETFLAGS)).readUInt32LE(), CASEFOLD);
    await sys.close(fd);
    t.equal(await outcome(() => chattr(sys, '/d', 0)), 'ENOTEMPTY');
    await sys.rename('/d/sub', '/moved');
    t.equal((await sys.stat('/moved/DEEP')).nlink, 2, 'it takes its rules with it');
    await sys.rmdir('/moved/deep');
    await chattr(sys, '/moved', 0);
    await sys.mkdir('/moved/deep', 0o755);
    await sys.mkdir('/moved/DEEP', 0o755);
    t.same(await list(sys, '/moved'), ['DEEP', 'deep']);
    const file = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const arg = Buffer.alloc(4);
    arg.writeUInt32LE(CASEFOLD);
    t.equal(await outcome(() => sys.ioctl(file, FS_IOC_SETFLAGS, arg)), 'ENOTDIR');
    const { super: disk } = infoOf(sb);
    Object.assign(disk, { incompat: disk.incompat & ~INCOMPAT_CASEFOLD });
    await sys.mkdir('/e', 0o755);
    t.equal(await outcome(() => chattr(sys, '/e', CASEFOLD)), 'EOPNOTSUPP', 'a device of an older latchfs');
    Object.assign(disk, { incompat: disk.incompat | INCOMPAT_CASEFOLD });
  });
});

t.test('many names at once are as in a plain list', async (t) => {
  const names = ['a', 'A', 'ab', 'aB', 'AB', 'Ab', 'ä', 'Ä', 'ß', 'SS', 'x\xff', 'X\xff'].map((name) =>
    name.includes('\xff') ? name : Buffer.from(name, 'utf8').toString('latin1'),
  );
  const key = (name: string): string =>
    name.includes('\xff') ? name : Buffer.from(name, 'latin1').toString('utf8').replace('ß', 'ss').toLowerCase();
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({ name: fc.constantFrom(...names), other: fc.constantFrom(...names), op: fc.nat({ max: 3 }) }),
      ),
      async (steps) => {
        const world = await newWorld({ size: 8 * 2 ** 20 });
        const process = new Process(world.sb);
        const sys = syscalls(process);
        await sys.mkdir('/d', 0o755);
        await chattr(sys, '/d', CASEFOLD);
        const model = new Map<string, string>();
        for (const { name, other, op } of steps) {
          const [from, to] = [key(name), key(other)];
          if (op === 0) {
            await sys.close(await sys.open(`/d/${name}`, O_CREAT | O_RDWR, 0o644));
            if (!model.has(from)) model.set(from, name);
          } else if (op === 1) {
            const said = await outcome(() => sys.unlink(`/d/${name}`));
            if (said !== (model.delete(from) ? 'ok' : 'ENOENT')) throw new Error(`unlink ${name}: ${said}`);
          } else if (op === 2) {
            const said = await outcome(() => sys.rename(`/d/${name}`, `/d/${other}`));
            const had = model.get(from);
            if (said !== (had === undefined ? 'ENOENT' : 'ok')) throw new Error(`rename ${name} ${other}: ${said}`);
            if (had === undefined || from === to) continue;
            model.delete(from);
            // A name that is replaced stays as it was written.
            model.set(to, model.get(to) ?? other);
          } else {
            const said = await outcome(() => sys.stat(`/d/${name}`));
            if (said !== (model.has(from) ? 'ok' : 'ENOENT')) throw new Error(`stat ${name}: ${said}`);
          }
        }
        t.same(await list(sys, '/d'), [...model.values()].sort());
        await process.exit();
        if ((await world.end()) !== 0 || world.violations.length > 0) throw new Error('not clean');
      },
    ),
    { numRuns: 50 },
  );
});

t.test('fsck looks where the folded names say', async (t) => {
  const image = await freshImage(16 << 20);
  const world = await ImageWorld.mount(image);
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.mkdir('/d', 0o755);
  await chattr(sys, '/d', CASEFOLD);
  for (let i = 0; i < 300; i++) await sys.mkdir(`/d/Name ${i}`, 0o755);
  await process.exit();
  t.equal(await world.unmount(), 0);
  t.same(await problemsOf(world.driver.now), []);
  const again = await ImageWorld.mount(world.driver.now);
  const later = new Process(again.sb);
  t.equal((await syscalls(later).stat('/d/NAME 299')).nlink, 2, 'after the next mount');
  await later.exit();
  t.equal(await again.unmount(), 0);
});
