/** Paths that are opened: what a walk may lead through to the last name, and that it goes there once. The outcomes are those of Linux on tmpfs. */

import t, { type Test } from 'tap';
import { d_drop } from '../../src/fs/dcache.js';
import type { Dentry } from '../../src/fs/dentry.js';
import { finish_open } from '../../src/fs/open.js';
import { ACL_DONT_CACHE } from '../../src/fs/posix-acl-types.js';
import { freeze_super, thaw_super } from '../../src/fs/super-freeze.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import {
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDWR,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_SYMLINKS,
} from '../../src/uapi/fcntl.js';
import { newWorld, outcome, type World } from './world.js';

const CREATE = O_CREAT | O_RDWR;

interface Scene {
  readonly world: World;
  readonly sys: Syscalls;
  /** What openat2(2) of a path below /r says. */
  readonly how: (path: string, flags: number, resolve?: number, mode?: number) => Promise<string>;
}

/** With a directory /r/d, and in it a file f. */
async function withPaths(t: Test, body: (scene: Scene) => Promise<void>): Promise<void> {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.mkdir('/r', 0o755);
  await sys.mkdir('/r/d', 0o755);
  await sys.close(await sys.open('/r/d/f', CREATE, 0o644));
  const dir = await sys.open('/r', 0);
  const how: Scene['how'] = (path, flags, resolve = 0, mode = (flags & (O_CREAT | 0o20000000)) === 0 ? 0 : 0o644) =>
    outcome(async () => sys.close(await sys.openat2(dir, path, { flags, mode, resolve })));
  await body({ world, sys, how });
  await process.exit();
  t.equal(await world.end(), 0, 'no reference was kept');
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
}

t.test('a symlink to what is to be made is followed from where the walk began', async (t) => {
  await withPaths(t, async ({ sys, how }) => {
    await sys.mkdir('/r/d/e', 0o755);
    await sys.symlink('/abs', '/r/d/e/l');
    await sys.symlink('../up', '/r/d/e/u');
    await sys.symlink('../../../out', '/r/d/e/o');
    await sys.symlink('nowhere', '/r/d/dangling');
    t.equal(await how('d/e/l', CREATE, RESOLVE_IN_ROOT), 'ok');
    t.ok(await sys.stat('/r/abs'));
    t.equal(await how('d/e/l', CREATE, RESOLVE_BENEATH), 'EXDEV');
    t.equal(await how('d/e/u', CREATE, RESOLVE_BENEATH), 'ok');
    t.ok(await sys.stat('/r/d/up'));
    t.equal(await how('d/e/o', CREATE, RESOLVE_BENEATH), 'EXDEV');
    t.equal(await how('d/e/o', CREATE, RESOLVE_IN_ROOT), 'ok');
    t.ok(await sys.stat('/r/out'));
    t.equal(await how('d/dangling', CREATE | O_EXCL), 'EEXIST');
    t.equal(await how('d/dangling', CREATE | O_NOFOLLOW), 'ELOOP');
    t.equal(await how('d/dangling', CREATE, RESOLVE_NO_SYMLINKS), 'ELOOP');
    t.equal(await how('d/dangling', CREATE), 'ok');
    t.ok(await sys.stat('/r/d/nowhere'));
  });
});

t.test('all symlinks of a path count together, also those in its last place', async (t) => {
  await withPaths(t, async ({ sys, how }) => {
    for (let i = 0; i < 45; i++) await sys.symlink(i < 44 ? `c${i + 1}` : 'f', `/r/d/c${i}`);
    await sys.symlink('.', '/r/d/dot');
    for (const flags of [CREATE, O_RDWR]) {
      t.equal(await how('d/c5', flags), 'ok', '40');
      t.equal(await how('d/c4', flags), 'ELOOP', '41');
      t.equal(await how(`d/${'dot/'.repeat(10)}c20`, flags), 'ok');
      t.equal(await how(`d/${'dot/'.repeat(30)}c20`, flags), 'ELOOP');
    }
  });
});

t.test('slashes and dots behind what is opened', async (t) => {
  await withPaths(t, async ({ sys, how }) => {
    await sys.symlink('f/', '/r/d/s');
    const outcomes: readonly (readonly [string, number, string, number?])[] = [
      ['d/s', CREATE, 'EISDIR'],
      ['d/s', O_RDWR, 'ENOTDIR'],
      ['d/f/', CREATE, 'EISDIR'],
      ['d/f/', 0, 'ENOTDIR'],
      ['d/none/', 0, 'ENOENT'],
      ['d/', 0, 'ok'],
      ['d/..', CREATE, 'EISDIR'],
      ['d/.', CREATE | O_EXCL, 'EEXIST'],
      ['d/../d/.', 0, 'ok'],
      ['..', CREATE, 'EXDEV', RESOLVE_BENEATH],
      ['/', CREATE, 'EXDEV', RESOLVE_BENEATH],
      ['', 0, 'ENOENT'],
    ];
    for (const [path, flags, expected, resolve] of outcomes) {
      t.equal(await how(path, flags, resolve), expected, `${path} ${flags.toString(8)}`);
    }
  });
});

t.test('what openat2 refuses, and openat does not see', async (t) => {
  await withPaths(t, async ({ sys, how }) => {
    t.equal(await how('d/f', CREATE, RESOLVE_CACHED), 'EAGAIN');
    t.equal(await how('d/f', O_RDWR | O_TRUNC, RESOLVE_CACHED), 'EAGAIN');
    t.equal(await how('d/f', O_RDWR, RESOLVE_CACHED), 'ok');
    t.equal(await how('d/f', 0, 0, 0o644), 'EINVAL', 'a mode of what is not made');
    t.equal(await how('d/f', CREATE, 0, 0o10000), 'EINVAL');
    t.equal(await how('d/f', O_PATH | O_RDWR), 'EINVAL');
    t.equal(await how('d/f', O_PATH | O_NOFOLLOW), 'ok');
    t.equal(await how('d/f', 1 << 30), 'EINVAL', 'unknown flags');
    t.equal(await how('d', 0o20000002), 'EINVAL', '__O_TMPFILE without O_DIRECTORY');
    t.equal(await how('d', O_TMPFILE), 'EINVAL', 'or read-only');
    t.equal(await how('d', O_TMPFILE | O_RDWR), 'ok');
    t.equal(await outcome(async () => sys.close(await sys.open('/r/d/f', (1 << 30) | O_RDWR, 0o170644))), 'ok');
    t.equal(await outcome(async () => sys.close(await sys.open('/r/d/f', O_PATH | O_RDWR))), 'ok');
  });
});

t.test('a path is walked once', async (t) => {
  await withPaths(t, async ({ world, sys, how }) => {
    await sys.chown('/r/d', 5, 5);
    await sys.chmod('/r/d', 0o750);
    const dir = world.sb.inodeHash.get((await sys.stat('/r/d')).ino);
    if (dir === undefined) throw new Error('not in memory');
    let asked = 0;
    dir.i_acl = ACL_DONT_CACHE;
    dir.i_op = {
      ...dir.i_op,
      get_inode_acl: () => {
        asked++;
        return undefined;
      },
    };
    const searched = async (path: string, flags: number): Promise<readonly [string, number]> => {
      asked = 0;
      return [await how(path, flags), asked];
    };
    t.same(await searched('d/f', O_RDWR), ['ok', 1], 'known');
    t.same(await searched('d/none', O_RDWR), ['ENOENT', 1], 'unknown: from its directory on');
    t.same(await searched('d/f', CREATE), ['ok', 1]);
    await sys.symlink('f', '/r/d/l');
    dir.i_acl = ACL_DONT_CACHE;
    t.same(await searched('d/l', CREATE), ['ok', 2], 'a symlink is another walk');
  });
});

t.test('what the filesystem opens by itself is cut by O_TRUNC', async (t) => {
  await withPaths(t, async ({ world, sys }) => {
    const fd = await sys.open('/r/d/f', O_RDWR);
    await sys.write(fd, Buffer.from('data'));
    const dir = world.sb.inodeHash.get((await sys.stat('/r/d')).ino);
    if (dir === undefined) throw new Error('not in memory');
    const { i_op: op } = dir;
    let opened = 0;
    dir.i_op = {
      ...op,
      atomic_open: async (task, of, dentry, file) => {
        await op.lookup?.(task, of, dentry, 0);
        opened++;
        await finish_open(task, file);
        return undefined;
      },
    };
    const cached = (name: string): Dentry | undefined => dir.i_dentry[0]?.d_children?.get(name);
    for (const flags of [O_RDWR | O_TRUNC, CREATE | O_TRUNC]) {
      await sys.pwrite(fd, Buffer.from('data'), 0);
      const known = cached('f');
      if (known !== undefined) d_drop(world.task(), known);
      await sys.close(await sys.open('/r/d/f', flags, 0o644));
      t.equal((await sys.fstat(fd)).size, 0);
    }
    t.equal(opened, 2);
    dir.i_op = op;
    await sys.close(fd);
  });
});

t.test('who waits for the other end of a fifo keeps nobody from freezing the filesystem', async (t) => {
  await withPaths(t, async ({ world, sys }) => {
    await sys.mknod('/r/d/fifo', 0o010644);
    const opening = sys.open('/r/d/fifo', O_CREAT, 0o644);
    await world.run((task) => freeze_super(task, world.sb));
    const writer = await sys.open('/r/d/fifo', O_WRONLY);
    await sys.close(await opening);
    await sys.close(writer);
    await world.run((task) => thaw_super(task, world.sb));
  });
});

t.test('.. of a directory that something was mounted on leads to what was mounted', async (t) => {
  await withPaths(t, async ({ sys }) => {
    await sys.mkdir('/r/d/e', 0o755);
    await sys.chdir('/r/d/e');
    await sys.mount_overlay('/r/d', ['/r']);
    t.equal((await sys.stat('..')).ino, (await sys.stat('/r/d')).ino);
    await sys.close(await sys.open('../d/f', 0));
    await sys.chdir('/');
    await sys.umount2('/r/d', 0);
  });
});
