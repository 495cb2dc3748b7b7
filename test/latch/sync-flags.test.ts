/** chattr +S and +D, and the mount options sync and dirsync: what is to be on the device before a system call returns is there after any crash. */

import t, { type Test } from 'tap';
import { vfs_fileattr_set } from '../../src/fs/fileattr.js';
import { SB_DIRSYNC, SB_SYNCHRONOUS } from '../../src/fs/super-block.js';
import { vfs_getxattr } from '../../src/fs/xattr.js';
import { FS_DIRSYNC_FL, FS_SYNC_FL } from '../../src/uapi/fs.js';
import { freshImage, problemsOf, World } from './world.js';

/** Of what was not flushed, nothing has reached the device. */
const none = (): number => 0;

async function world(flags = 0): Promise<World> {
  return World.mount(await freshImage(4 << 20), flags);
}

async function flag(w: World, path: string, flags: number): Promise<void> {
  await w.at(path, (dentry) => vfs_fileattr_set(w.task, dentry, (old) => ({ ...old, flags })));
}

/** What a crash at this moment leaves. */
async function crashed<T>(t: Test, w: World, look: (after: World) => Promise<T>): Promise<T> {
  const after = await World.mount(w.driver.crash(w.driver.events.length, none));
  const seen = await look(after);
  await after.unmount();
  t.same(await problemsOf(after.driver.now), []);
  return seen;
}

t.test('a file with +S', async (t) => {
  const w = await world();
  await w.create('f');
  await flag(w, 'f', FS_SYNC_FL);
  await w.write('f', 0, Buffer.from('written'));
  t.equal(await crashed(t, w, async (after) => (await after.read('f')).toString()), 'written');
  await w.truncate('f', 3);
  t.equal(await crashed(t, w, async (after) => (await after.read('f')).toString()), 'wri', 'its size');
  await w.setxattr('f', 'user.a', Buffer.from('value'));
  const value = await crashed(t, w, (after) =>
    after.at('f', async (dentry) => (await vfs_getxattr(after.task, dentry, 'user.a'))?.toString()),
  );
  t.equal(value, 'value', 'its attributes');
  await flag(w, 'f', 0);
  await w.truncate('f', 1);
  t.equal(await crashed(t, w, async (after) => (await after.read('f')).length), 3, 'not without the flag');
  await w.unmount();
});

const ways: readonly [string, number, number][] = [
  ['a directory with +S', FS_SYNC_FL, 0],
  ['a directory with +D', FS_DIRSYNC_FL, 0],
  ['a mount with sync', 0, SB_SYNCHRONOUS],
  ['a mount with dirsync', 0, SB_DIRSYNC],
  ['a directory without any of it', 0, 0],
];

for (const [name, flags, mountFlags] of ways) {
  t.test(name, async (t) => {
    const w = await world(mountFlags);
    await w.mkdir('d');
    await w.create('outside');
    await flag(w, 'd', flags);
    await w.sync();
    const steps: readonly [() => Promise<void>, string[]][] = [
      [() => w.create('d/a'), ['a']],
      [() => w.mkdir('d/b'), ['a', 'b']],
      [() => w.symlink('d/c', 'target'), ['a', 'b', 'c']],
      [() => w.link('outside', 'd/e'), ['a', 'b', 'c', 'e']],
      [() => w.rename('d/a', 'd/f'), ['b', 'c', 'e', 'f']],
      [() => w.rename('d/f', 'd/g', 4), ['b', 'c', 'e', 'f', 'g']],
      [() => w.rename('outside', 'd/h'), ['b', 'c', 'e', 'f', 'g', 'h']],
      [() => w.rmdir('d/b'), ['c', 'e', 'f', 'g', 'h']],
      [() => w.unlink('d/c'), ['e', 'f', 'g', 'h']],
    ];
    for (const [step, names] of steps) {
      await step();
      const found = (await crashed(t, w, (after) => after.list('d'))).sort();
      t.same(found, flags === 0 && mountFlags === 0 ? [] : names);
    }
    await w.unmount();
  });
}

t.test('a directory passes its flags on, as far as they mean something', async (t) => {
  const w = await world();
  await w.mkdir('d');
  await flag(w, 'd', FS_SYNC_FL | FS_DIRSYNC_FL | 0x40 | 0x80);
  await w.create('d/file');
  await w.mkdir('d/directory');
  await w.sync();
  const flagsOf = async (on: World, path: string): Promise<number> => {
    let found = -1;
    await on.at(path, (dentry) =>
      vfs_fileattr_set(on.task, dentry, (old) => {
        found = old.flags;
        return old;
      }),
    );
    return found;
  };
  const after = await World.mount(w.driver.now);
  t.equal(await flagsOf(after, 'd/file'), FS_SYNC_FL | 0xc0);
  t.equal(await flagsOf(after, 'd/directory'), FS_SYNC_FL | FS_DIRSYNC_FL | 0xc0);
  for (const flags of [FS_DIRSYNC_FL, 0x20000000]) {
    await t.rejects(flag(after, 'd/file', flags), { code: 'EOPNOTSUPP' }, 'of other flags a file has no use');
  }
  await after.unmount();
  await w.unmount();
});
