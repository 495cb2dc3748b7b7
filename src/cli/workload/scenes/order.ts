/** Scenes of who is locked first, where several are, and of those who come while others have what they want. */

import type { SuperBlock } from '../../../fs/super-block.js';
import type { Syscalls } from '../../../fs/syscalls.js';
import type { RwSem } from '../../../locking/rwsem.js';
import { Task } from '../../../sched/task.js';
import { AT_FDCWD, O_APPEND, O_DIRECTORY, O_RDWR, O_TRUNC } from '../../../uapi/fcntl.js';
import { RENAME_EXCHANGE } from '../../../uapi/fs.js';
import { create, names, type Scene, said } from './scene.js';

/** Call `body` while a task of another has locked `lock` exclusively, and let it go when all that can be done without it is done. */
async function whileHeld<T>(
  sb: SuperBlock,
  lock: RwSem<'i_rwsem' | 'invalidate_lock'>,
  body: () => Promise<T>,
): Promise<T> {
  const task = new Task(sb.sched, sb.machine.validator, { comm: 'holder' });
  const held = await lock.write(task);
  const result = body();
  for (let i = 0; i < 3; i++) await sb.sched.yield();
  held.release();
  return await result;
}

/** Two files in each other's place, whatever their numbers. */
async function exchangeAll(
  sys: Syscalls,
  pairs: readonly (readonly [string, string])[],
): Promise<(string | undefined)[]> {
  const results: (string | undefined)[] = [];
  for (const [a, b] of pairs) {
    const result = await said(sys.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE));
    results.push(result === undefined ? undefined : String(result));
  }
  return results;
}

export const ORDERS: readonly Scene[] = [
  {
    name: 'who is locked first: names',
    run: async (sys) => {
      for (const dir of ['/a', '/a/b', '/a/b/c', '/z']) await sys.mkdir(dir, 0o755);
      for (const file of ['/a/1', '/a/b/2', '/z/3', '/a/b/c/4', '/z/5']) await sys.close(await create(sys, file));
      // Up, down, and to the side, with and without something in the way.
      await sys.rename('/a/b/2', '/a/2');
      await sys.rename('/a/2', '/a/b/c/2');
      await sys.rename('/a/b/c/2', '/z/2');
      await sys.rename('/z/2', '/a/1');
      await sys.rename('/a/b/c/4', '/z/3');
      await sys.rename('/z/5', '/z/3');
      await sys.rename('/a/b/c', '/z/c');
      await sys.mkdir('/z/d', 0o755);
      await sys.mkdir('/a/d', 0o755);
      await sys.rename('/z/d', '/a/d');
      await sys.rename('/a/d', '/a/b');
      const into = await said(sys.rename('/a', '/a/b/inside'));
      for (const file of ['/z/6', '/a/7', '/a/8']) await sys.close(await create(sys, file));
      const exchanged = await exchangeAll(sys, [
        ['/z/6', '/a/7'],
        ['/z/6', '/a/7'],
        ['/a/7', '/a/8'],
        ['/a/8', '/a/7'],
        ['/a/7', '/z/c'],
        ['/z/c', '/a/b'],
        ['/a/7', '/z/c'],
      ]);
      await sys.link('/a/8', '/z/9');
      await sys.link('/z/9', '/a/b10');
      return [into, exchanged, await names(sys, '/a'), await names(sys, '/z')];
    },
  },
  {
    name: 'who is locked first: files',
    run: async (sys) => {
      const [low, high] = [await create(sys, '/low', 20_000), await create(sys, '/high', 20_000)];
      const copied = [
        await sys.copy_file_range(low, 0, high, 4096, 9000),
        await sys.copy_file_range(high, 0, low, 0, 9000),
      ];
      const within = await said(sys.copy_file_range(low, 0, low, 12_288, 4096));
      const cloned = [
        await said(sys.clone_file_range(low, 0, 8192, high, 8192)),
        await said(sys.clone_file_range(high, 0, 8192, low, 8192)),
      ];
      return [copied, within, cloned, (await sys.fstat(low)).size, (await sys.fstat(high)).size];
    },
  },
  {
    name: 'who comes later: directories',
    run: async (sys, other, sb) => {
      await sys.mkdir('/d', 0o755);
      await sys.mkdir('/e', 0o755);
      await sys.close(await create(sys, '/d/f'));
      const inode = sb.inodeHash.get((await sys.stat('/d')).ino);
      if (inode === undefined) return 'no inode';
      const lock = inode.i_rwsem;
      const fd = await sys.open('/d', O_DIRECTORY);
      const listed = await whileHeld(sb, lock, () => sys.getdents(fd));
      const both = await whileHeld(sb, lock, () =>
        Promise.all([
          said(sys.mkdir('/d/new', 0o755)),
          said(other.mkdir('/d/new', 0o755)),
          said(other.unlink('/d/f')),
          said(sys.stat('/d/nothing')),
        ]),
      );
      await whileHeld(sb, lock, () => Promise.all([sys.rename('/d/new', '/e/new'), other.symlink('to', '/d/s')]));
      const gone = await whileHeld(sb, lock, () => said(other.rmdir('/d')));
      await sys.unlink('/d/s');
      const [removed, late] = await whileHeld(sb, lock, () =>
        Promise.all([said(sys.rmdir('/d')), said(other.mkdir('/d/late', 0o755))]),
      );
      await sys.close(fd);
      return [listed.length, both.map(String).sort(), gone, removed, late, await names(sys, '/e')];
    },
  },
  {
    name: 'who comes later: files',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/f');
      const [a, b] = [await sys.open('/f', O_RDWR | O_APPEND), await other.open('/f', O_RDWR | O_APPEND)];
      const inode = sb.inodeHash.get((await sys.stat('/f')).ino);
      if (inode === undefined) return 'no inode';
      await whileHeld(sb, inode.i_rwsem, () =>
        Promise.all([
          sys.write(a, Buffer.alloc(100, 'x')),
          other.write(b, Buffer.alloc(50, 'y')),
          sys.write(a, Buffer.alloc(5000, 'z')),
        ]),
      );
      const longer = (await sys.fstat(fd)).size;
      await whileHeld(sb, inode.i_rwsem, () =>
        Promise.all([sys.ftruncate(fd, 100), other.write(b, Buffer.alloc(10, 'q')), sys.chmod('/f', 0o600)]),
      );
      const shorter = (await sys.fstat(fd)).size;
      await sys.fsync(fd);
      const { invalidate_lock } = inode.i_mapping;
      await whileHeld(sb, invalidate_lock, () => Promise.all([sys.ftruncate(fd, 50), other.pread(b, 10, 0)]));
      const cut = await whileHeld(sb, inode.i_rwsem, () => other.open('/f', O_RDWR | O_TRUNC));
      return [longer, shorter, (await other.fstat(cut)).size];
    },
  },
];
