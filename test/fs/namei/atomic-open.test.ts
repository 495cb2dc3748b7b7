/** open(2) where the filesystem looks up, makes and opens in one call. */

import t, { type Test } from 'tap';
import { dget, dput } from '../../../src/fs/dcache.js';
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../../src/fs/drop-caches.js';
import { fput } from '../../../src/fs/file-table.js';
import { open_or_create } from '../../../src/fs/namei/open-last.js';
import { SB_RDONLY } from '../../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../../src/fs/syscalls.js';
import { infoOf } from '../../../src/latch/info.js';
import { LatchInode } from '../../../src/latch/inode.js';
import { O_CREAT, O_DIRECTORY, O_EXCL, O_RDWR, O_TRUNC } from '../../../src/uapi/fcntl.js';
import { newWorld, opsCalled, outcome, user, type World } from '../world.js';

async function withSys(t: Test, body: (sys: Syscalls, world: World, process: Process) => Promise<void>): Promise<void> {
  const world = await newWorld();
  const process = new Process(world.sb);
  await body(syscalls(process), world, process);
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
}

async function forget(sys: Syscalls, { run, sb }: World): Promise<void> {
  await sys.sync();
  for (let i = 0; i < 2; i++) await run((task) => drop_caches(task, sb, DROP_PAGECACHE | DROP_SLAB));
}

/** As a server does it, which is given one name and looks nothing up before. */
function openAtRoot({ run, root }: World, name: string, flags: number, mode = 0o644): Promise<boolean> {
  return run(async (task) => {
    const { file, dentry, created } = await open_or_create(task, root, name, flags, mode);
    await fput(task, file);
    await dput(task, dentry);
    return created;
  });
}

t.test('what is there is opened, what is not is made, whoever knows of it', async (t) => {
  await withSys(t, async (sys, world) => {
    const called = await opsCalled(world, async () => t.equal(await openAtRoot(world, 'f', O_RDWR), true));
    t.same(
      called.filter((op) => op === 'atomic_open' || op === 'create' || op === 'lookup'),
      ['atomic_open'],
      'in one call',
    );
    t.equal(await openAtRoot(world, 'f', O_RDWR), false, 'cached');
    await forget(sys, world);
    t.equal(await openAtRoot(world, 'f', O_RDWR), false, 'or looked up');
    t.equal(await outcome(() => openAtRoot(world, 'f', O_RDWR | O_EXCL)), 'EEXIST');
    await forget(sys, world);
    t.equal(await outcome(() => openAtRoot(world, 'f', O_RDWR | O_EXCL)), 'EEXIST');
    t.equal(await outcome(() => openAtRoot(world, 'x'.repeat(256), O_RDWR)), 'ENAMETOOLONG');
    await sys.mkdir('/d', 0o755);
    await forget(sys, world);
    t.equal(await outcome(() => openAtRoot(world, 'd', O_RDWR)), 'EISDIR');
    await sys.symlink('f', '/l');
    await forget(sys, world);
    t.equal(await outcome(() => openAtRoot(world, 'l', O_RDWR)), 'ELOOP');
    t.equal(await outcome(() => openAtRoot(world, 'secret', O_RDWR, 0)), 'ok', 'whatever the mode of a new file');
  });
});

t.test('without O_CREAT the filesystem is asked for what nobody has looked up', async (t) => {
  await withSys(t, async (sys, world, process) => {
    await sys.mkdir('/d', 0o755);
    await sys.close(await sys.open('/d/f', O_CREAT | O_RDWR, 0o644));
    await sys.symlink('f', '/d/l');
    const asked = async (name: string, flags = O_RDWR): Promise<[string, number]> => {
      let said = '';
      const called = await opsCalled(world, async () => {
        said = await outcome(async () => sys.close(await sys.open(name, flags)));
      });
      return [said, called.filter((op) => op === 'atomic_open').length];
    };
    await forget(sys, world);
    t.same(await asked('/d/f'), ['ok', 1]);
    t.same(await asked('/d/f'), ['ok', 0], 'known');
    await forget(sys, world);
    t.same(await asked('/d/l'), ['ok', 2], 'a link, and what it leads to');
    t.same(await asked('/d/none'), ['ENOENT', 1]);
    t.same(await asked('/d/none'), ['ENOENT', 0], 'known not to be there');
    t.same(await asked('/d/f/g'), ['ENOTDIR', 0]);
    t.same(await asked('/d', O_DIRECTORY), ['ok', 0]);
    await forget(sys, world);
    t.same(await asked('/d', O_DIRECTORY), ['ok', 1]);
    t.same(await asked(`/d/${'x'.repeat(256)}`), ['ENAMETOOLONG', 0]);
    await sys.chmod('/d', 0o700);
    await forget(sys, world);
    const them = process.fork({ cred: user(1000) });
    t.equal(await outcome(() => syscalls(them).open('/d/f', 0)), 'EACCES');
    await them.exit();
  });
});

t.test('who may not make files may open those that are there', async (t) => {
  await withSys(t, async (sys, world, process) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o666);
    await sys.write(fd, Buffer.from('data'));
    await sys.close(fd);
    await sys.chmod('/f', 0o666);
    const them = process.fork({ cred: user(1000) });
    const theirs = syscalls(them);
    for (const name of ['cached', 'looked up']) {
      if (name === 'looked up') await forget(sys, world);
      t.equal(await outcome(async () => theirs.close(await theirs.open('/f', O_CREAT | O_RDWR, 0o644))), 'ok', name);
    }
    t.equal(await outcome(() => theirs.open('/none', O_CREAT | O_RDWR, 0o644)), 'EACCES');
    t.equal(await outcome(() => theirs.open('/f', O_CREAT | O_EXCL | O_RDWR, 0o644)), 'EEXIST', 'which is told first');
    await sys.close(await theirs.open('/f', O_CREAT | O_TRUNC | O_RDWR, 0o644).then(() => sys.open('/f', O_RDWR)));
    t.equal((await sys.stat('/f')).size, 0);
    await them.exit();
    await sys.remount('/', SB_RDONLY, '');
    await forget(sys, world);
    t.equal(await outcome(async () => sys.close(await sys.open('/f', O_CREAT, 0o644))), 'ok', 'also where nobody may');
    t.equal(await outcome(() => sys.open('/none', O_CREAT, 0o644)), 'EROFS');
    await sys.remount('/', 0, '');
  });
});

t.test('of several that make one name at once, all have one file', async (t) => {
  await withSys(t, async (sys, world) => {
    const made = await Promise.all(Array.from({ length: 4 }, () => openAtRoot(world, 'same', O_RDWR)));
    t.same(made.filter((created) => created).length, 1);
    const only = await Promise.all(
      Array.from({ length: 4 }, () => outcome(() => openAtRoot(world, 'only', O_RDWR | O_EXCL))),
    );
    t.same(only.sort(), ['EEXIST', 'EEXIST', 'EEXIST', 'ok']);
    await sys.mkdir('/gone', 0o755);
    const dir = await sys.open('/gone', O_DIRECTORY);
    const dentry = await world.run(() => dget(world.root.d_children?.get('gone') ?? world.root));
    await sys.rmdir('/gone');
    t.equal(await outcome(() => openAtRoot({ ...world, root: dentry }, 'f', O_RDWR)), 'ENOENT');
    await world.run((task) => dput(task, dentry));
    await sys.close(dir);
  });
});

t.test('a file without a name that is cut stays to be deleted after a crash', async (t) => {
  await withSys(t, async (sys, { sb }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(50_000, 'a'));
    await sys.fsync(fd);
    const inode = sb.inodeHash.get((await sys.fstat(fd)).ino);
    await sys.unlink('/f');
    await sys.ftruncate(fd, 100);
    t.equal(inode instanceof LatchInode && infoOf(sb).orphans.has(inode), true);
    t.equal((await sys.fstat(fd)).blocks, 8, 'and has lost its blocks');
  });
});
