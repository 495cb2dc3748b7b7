/** FS_IOC_SHUTDOWN: what an operation is told afterwards, what reaches the device before, and that the next mount is whole. */

import t, { type Test } from 'tap';
import { SB_RDONLY } from '../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { infoOf, with_handle } from '../../src/latch/info.js';
import { FALLOC_FL_KEEP_SIZE } from '../../src/uapi/falloc.js';
import { O_CREAT, O_DIRECT, O_DIRECTORY, O_RDWR, O_TMPFILE } from '../../src/uapi/fcntl.js';
import { SEEK_DATA } from '../../src/uapi/fs.js';
import { FIFREEZE, FITHAW, FITRIM, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_SHUTDOWN } from '../../src/uapi/ioctl.js';
import { MAP_SHARED, PROT_READ } from '../../src/uapi/mman.js';
import { newWorld, outcome, user } from '../fs/world.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

const [DEFAULT, LOGFLUSH, NOLOGFLUSH] = [0, 1, 2] as const;

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

interface Used {
  readonly process: Process;
  readonly sys: Syscalls;
  readonly root: number;
  readonly fd: number;
  shutdown(flags: number): Promise<string>;
}

/** A process, and a tree of which the first half is on the device. */
async function used(sb: World['sb']): Promise<Used> {
  const process = new Process(sb);
  const sys = syscalls(process);
  const root = await sys.open('/', O_DIRECTORY);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(10_000, 'x'));
  await sys.mkdir('/dir', 0o755);
  await sys.symlink('f', '/sl');
  await sys.setxattr('/f', 'user.a', Buffer.from('1'));
  await sys.syncfs(fd);
  await sys.write(fd, Buffer.alloc(10_000, 'y'));
  await sys.mkdir('/late', 0o755);
  const shutdown = (flags: number): Promise<string> => outcome(() => sys.ioctl(root, FS_IOC_SHUTDOWN, word(flags)));
  return { process, sys, root, fd, shutdown };
}

/** What ext4 of Linux 6.18 answers on a filesystem that was shut down, in this order. Where it goes on to trim and to lock, this one does not. */
async function answers({ sys, root, fd }: Used): Promise<Record<string, string>> {
  const said: Record<string, string> = {};
  const ask = async (name: string, body: () => unknown): Promise<void> => {
    said[name] = await outcome(body);
  };
  await ask('read', () => sys.pread(fd, 10, 0));
  await ask('write', () => sys.pwrite(fd, Buffer.from('z'), 0));
  await ask('fsync', () => sys.fsync(fd));
  await ask('fsync of a directory', () => sys.fsync(root));
  await ask('ftruncate', () => sys.ftruncate(fd, 0));
  await ask('fallocate', () => sys.fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
  await ask('fstat', () => sys.fstat(fd));
  await ask('stat', () => sys.stat('/dir'));
  await ask('stat of nothing', () => sys.stat('/nix'));
  await ask('open', () => sys.open('/f', O_RDWR));
  await ask('open a directory', async () => sys.close(await sys.open('/dir', O_DIRECTORY)));
  await ask('list', () => sys.getdents(root));
  await ask('create', () => sys.open('/n', O_CREAT | O_RDWR, 0o644));
  await ask('mkdir', () => sys.mkdir('/n', 0o755));
  await ask('rmdir', () => sys.rmdir('/dir'));
  await ask('unlink', () => sys.unlink('/f'));
  await ask('rename', () => sys.rename('/f', '/q'));
  await ask('link', () => sys.link('/f', '/q'));
  await ask('symlink', () => sys.symlink('x', '/q'));
  await ask('readlink', () => sys.readlink('/sl'));
  await ask('chmod', () => sys.chmod('/f', 0o600));
  await ask('setxattr', () => sys.setxattr('/f', 'user.b', Buffer.from('1')));
  await ask('getxattr', () => sys.getxattr('/f', 'user.a'));
  await ask('listxattr', () => sys.listxattr('/f'));
  await ask('removexattr', () => sys.removexattr('/f', 'user.a'));
  await ask('statfs', () => sys.statfs('/'));
  await ask('mmap', () => sys.mmap(0, 4096, PROT_READ, MAP_SHARED, fd));
  await ask('seek', () => sys.lseek(fd, 0, SEEK_DATA));
  await ask('getflags', () => sys.ioctl(fd, FS_IOC_GETFLAGS));
  await ask('setflags', () => sys.ioctl(fd, FS_IOC_SETFLAGS, word(0x80)));
  await ask('trim', () => sys.ioctl(root, FITRIM, Buffer.alloc(24, 0xff).fill(0, 0, 8).fill(0, 16)));
  await ask('tmpfile', () => sys.open('/', O_TMPFILE | O_RDWR, 0o600));
  await ask('copy_file_range', () => sys.copy_file_range(fd, 0, fd, 50_000, 10));
  await ask('freeze', () => sys.ioctl(root, FIFREEZE));
  return said;
}

const GOES_ON = ['fstat', 'stat', 'open a directory', 'list', 'readlink', 'listxattr', 'statfs', 'seek', 'getflags'];

function check(test: Test, said: Record<string, string>): void {
  for (const [name, answer] of Object.entries(said)) {
    const wanted = GOES_ON.includes(name) ? 'ok' : name === 'stat of nothing' ? 'ENOENT' : 'EIO';
    test.equal(answer, wanted, name);
  }
}

for (const [name, flags, late] of [
  ['DEFAULT', DEFAULT, true],
  ['LOGFLUSH', LOGFLUSH, true],
  ['NOLOGFLUSH', NOLOGFLUSH, false],
] as const) {
  t.test(`${name}: everything says EIO, and the next mount has what it should`, async (t) => {
    const world = await World.mount(await freshImage(8 << 20));
    const u = await used(world.sb);
    t.equal(await u.shutdown(9), 'EINVAL');
    const before = world.driver.events.length;
    t.equal(await u.shutdown(flags), 'ok');
    t.equal(await u.shutdown(NOLOGFLUSH), 'ok', 'again');
    t.equal(await u.shutdown(9), 'EINVAL');
    const stopped = world.driver.events.length;
    check(t, await answers(u));
    if (flags === NOLOGFLUSH) t.equal(stopped, before, 'nothing is written');
    await u.sys.close(u.fd);
    t.equal(await outcome(() => u.sys.remount('/', SB_RDONLY, '')), 'EIO');
    await u.process.exit();
    t.equal(await world.unmount(), 0);
    t.equal(world.driver.events.filter(({ kind }, i) => kind === 'write' && i >= stopped).length, 0, 'nor later');
    t.match(world.said.join('\n'), /was shut down/);
    t.notMatch(world.said.join('\n'), /aborted/);
    const again = await World.mount(world.driver.crash(world.driver.events.length, numbers(flags + 1)));
    t.equal((await again.list('/')).includes('late'), late);
    const content = await again.read('/f');
    t.ok(content.subarray(0, 10_000).equals(Buffer.alloc(10_000, 'x')), 'what was synced');
    t.equal(content.length, flags === DEFAULT ? 20_000 : 10_000, 'pages are written with DEFAULT only');
    t.equal(await again.unmount(), 0);
    t.same(await problemsOf(again.driver.now), []);
  });
}

t.test('it is not for everybody, and a frozen filesystem can be shut down', async (t) => {
  const world = await World.mount(await freshImage(8 << 20));
  const u = await used(world.sb);
  const own = new Process(world.sb, { cred: user(7) });
  const sys = syscalls(own);
  const root = await sys.open('/', O_DIRECTORY);
  t.equal(await outcome(() => sys.ioctl(root, FS_IOC_SHUTDOWN, word(NOLOGFLUSH))), 'EPERM');
  t.equal(await outcome(() => u.sys.ioctl(u.root, FS_IOC_SHUTDOWN, Buffer.alloc(0))), 'EFAULT');
  t.equal(await outcome(() => u.sys.pwrite(u.fd, Buffer.from('z'), 0)), 'ok');
  await u.sys.ioctl(u.root, FIFREEZE);
  t.equal(await u.shutdown(DEFAULT), 'ok');
  await u.sys.ioctl(u.root, FITHAW);
  t.equal(await outcome(() => u.sys.pwrite(u.fd, Buffer.from('z'), 0)), 'EIO');
  await own.exit();
  await u.process.exit();
  t.equal(await world.unmount(), 0);
  t.same(await problemsOf(world.driver.now), []);
});

t.test('who has begun a transaction may end it', async (t) => {
  const world = await World.mount(await freshImage(8 << 20));
  const u = await used(world.sb);
  const info = infoOf(world.sb);
  const task = world.newTask();
  let stopping: Promise<string> | undefined;
  await with_handle(task, info, async () => {
    stopping = u.shutdown(LOGFLUSH);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(info.forced_shutdown, true);
    t.equal(await outcome(() => with_handle(task, info, () => undefined)), 'ok', 'a part of what was begun');
    const other = world.newTask();
    t.equal(await outcome(() => with_handle(other, info, () => undefined)), 'EIO');
  });
  t.equal(await stopping, 'ok');
  t.equal(await outcome(() => with_handle(task, info, () => undefined)), 'EIO');
  await u.process.exit();
  t.equal(await world.unmount(), 0);
  t.same(await problemsOf(world.driver.now), []);
});

t.test('in memory there is nothing to recover, and it can be unmounted all the same', async (t) => {
  const world = await newWorld();
  const u = await used(world.sb);
  const direct = await u.sys.open('/f', O_RDWR | O_DIRECT);
  t.equal(await u.shutdown(NOLOGFLUSH), 'ok');
  t.equal(await outcome(() => u.sys.pread(direct, 4096, 0)), 'EIO');
  t.equal(await outcome(() => u.sys.pwrite(direct, Buffer.alloc(4096), 0)), 'EIO');
  check(t, await answers(u));
  await u.process.exit();
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('who is in the middle of something: whole or not at all', async (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    const world = await World.mount(await freshImage(8 << 20));
    const late = numbers(seed);
    world.driver.delay = () => late(4);
    const process = new Process(world.sb);
    const sys = syscalls(process);
    const root = await sys.open('/', O_DIRECTORY);
    const work = async (dir: string): Promise<void> => {
      await sys.mkdir(dir, 0o755);
      for (let i = 0; i < 60; i++) {
        const fd = await sys.open(`${dir}/${i}`, O_CREAT | O_RDWR, 0o644);
        await sys.pwrite(fd, Buffer.alloc(9000, dir), 0);
        if (i % 3 === 0) await sys.fsync(fd);
        if (i % 5 === 0) await sys.ftruncate(fd, 100);
        await sys.close(fd);
        if (i % 2 === 0) await sys.unlink(`${dir}/${i}`);
        else await sys.rename(`${dir}/${i}`, `${dir}/r${i}`);
      }
    };
    const workers = ['/a', '/b', '/c'].map((dir) => outcome(() => work(dir)));
    const turns = late(3000);
    for (let i = 0; i < turns; i++) await undefined;
    t.equal(await outcome(() => sys.ioctl(root, FS_IOC_SHUTDOWN, word(seed % 3))), 'ok');
    for (const answer of await Promise.all(workers)) {
      if (answer !== 'EIO' && answer !== 'ok') t.fail(`seed ${seed}: ${answer}`);
    }
    await process.exit();
    t.equal(await world.unmount(), 0);
    const image = world.driver.crash(world.driver.events.length, late);
    t.same(await problemsOf(image), [], `seed ${seed}`);
    const again = await World.mount(image);
    await again.unmount();
    t.same(await problemsOf(again.driver.now), [], `seed ${seed}, recovered`);
  }
});
