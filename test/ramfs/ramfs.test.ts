/** The second filesystem: on the same VFS as latch, and nothing of it in the way. */

import t, { type Test } from 'tap';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { MemoryControl } from '../../src/mm/memory.js';
import { ramfs_fs_type } from '../../src/ramfs/ramfs.js';
import { RealScheduler } from '../../src/sched/real.js';
import { userCred } from '../../src/sched/task.js';
import { AT_FDCWD, O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from '../../src/uapi/fs.js';

const MIB = 2 ** 20;

/** Mount it, use it, unmount it; nothing may be in use at the end, and nothing reported. */
async function withRamfs(t: Test, body: (sys: Syscalls, memory: MemoryControl) => Promise<void>): Promise<void> {
  const seen: Violation[] = [];
  const sched = new RealScheduler();
  const validator = new Lockdep('warn', (violation) => seen.push(violation), { stacks: true });
  const memory = new MemoryControl(sched, { limit: 4 * MIB, validator });
  const sb = await vfs_mount({ sched, validator, memory }, ramfs_fs_type, undefined, 0);
  const process = new Process(sb);
  await body(syscalls(process), memory);
  await process.exit();
  t.equal(await kill_sb(sb), 0, 'inodes in use');
  t.equal(memory.nr_pages, 0, 'pages left');
  t.same(
    seen.map(({ message }) => message),
    [],
  );
}

t.test('names', (t) =>
  withRamfs(t, async (sys) => {
    await sys.mkdir('/d', 0o755);
    await sys.close(await sys.open('/d/f', O_CREAT | O_RDWR, 0o644));
    await sys.link('/d/f', '/g');
    await sys.symlink('d/f', '/s');
    t.equal((await sys.stat('/s')).nlink, 2);
    t.equal((await sys.lstat('/s')).size, 3);
    await t.rejects(sys.rmdir('/d'), { code: 'ENOTEMPTY' });
    await t.rejects(sys.renameat2(AT_FDCWD, '/g', AT_FDCWD, '/s', RENAME_NOREPLACE), { code: 'EEXIST' });
    await t.rejects(sys.renameat2(AT_FDCWD, '/g', AT_FDCWD, '/h', RENAME_WHITEOUT), { code: 'EINVAL' });
    await sys.mkdir('/e', 0o755);
    t.equal((await sys.stat('/')).nlink, 4);
    await sys.renameat2(AT_FDCWD, '/e', AT_FDCWD, '/d/f', RENAME_EXCHANGE);
    t.equal((await sys.stat('/')).nlink, 3, 'a directory has left the root');
    t.equal((await sys.stat('/d')).nlink, 3);
    const root = await sys.open('/', 0);
    t.same((await sys.getdents(root)).map(({ name }) => name).sort(), ['.', '..', 'd', 'e', 'g', 's']);
    await sys.close(root);
    await sys.rename('/d/f', '/d2');
    await sys.rename('/d2', '/d3');
    await sys.rename('/e', '/g');
    t.equal((await sys.stat('/g')).nlink, 2, 'two names of one file: nothing happens');
    await sys.unlink('/g');
    await sys.unlink('/e');
    await sys.rmdir('/d3');
    t.equal((await sys.stat('/')).nlink, 3);
  }),
);

t.test('what a position of a listing has shown is not shown again', (t) =>
  withRamfs(t, async (sys) => {
    for (const name of 'abcdef') await sys.mkdir(`/${name}`, 0o755);
    const root = await sys.open('/', 0);
    const first = (await sys.getdents(root, 4)).map(({ name }) => name);
    t.same(first, ['.', '..', 'a', 'b']);
    await sys.rmdir('/a');
    await sys.rename('/c', '/z');
    await sys.mkdir('/g', 0o755);
    t.same(
      (await sys.getdents(root)).map(({ name }) => name),
      ['d', 'e', 'f', 'z', 'g'],
    );
    await sys.close(root);
  }),
);

t.test('contents', (t) =>
  withRamfs(t, async (sys, memory) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.pwrite(fd, Buffer.from('hello'), 10_000);
    await sys.fsync(fd);
    t.same(await sys.pread(fd, 6, 9_999), Buffer.from('\0hello'));
    await sys.ftruncate(fd, 10_002);
    await sys.ftruncate(fd, 10_006);
    t.same(await sys.pread(fd, 7, 9_999), Buffer.from('\0he\0\0\0\0'));
    const before = memory.nr_pages;
    await sys.unlink('/f');
    t.equal(memory.nr_pages, before, 'it is open still');
    t.same(await sys.pread(fd, 2, 10_000), Buffer.from('he'));
    await sys.close(fd);
    t.equal(memory.nr_pages, 0);
  }),
);

t.test('there is no room for more than memory', (t) =>
  withRamfs(t, async (sys, memory) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const chunk = Buffer.alloc(MIB, 1);
    let written = 0;
    await t.rejects(
      (async () => {
        for (;;) written += await sys.write(fd, chunk);
      })(),
      { code: 'ENOMEM' },
    );
    t.ok(written > 2 * MIB, `${written} bytes of ${memory.limit * 4096}`);
    t.same((await sys.pread(fd, 3, 2 * MIB)).toString('hex'), '010101');
    await sys.ftruncate(fd, 0);
    t.equal(await sys.pwrite(fd, chunk, 0), MIB);
    await sys.close(fd);
  }),
);

t.test('the root belongs to who mounts it', async (t) => {
  const sched = new RealScheduler();
  const validator = new Lockdep('warn', () => undefined);
  const memory = new MemoryControl(sched, { limit: MIB, validator });
  const sb = await vfs_mount({ sched, validator, memory }, ramfs_fs_type, undefined, 0, userCred(1000, 100));
  const process = new Process(sb);
  t.match(await syscalls(process).stat('/'), { uid: 1000, gid: 100 });
  await process.exit();
  t.equal(await kill_sb(sb), 0);
});
