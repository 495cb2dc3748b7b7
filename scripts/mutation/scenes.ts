/** What the mutants are run under: short workloads through system calls, two processes at a time, whose results can be compared. */
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../src/fs/drop-caches.js';
import { FIFREEZE, FITHAW, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../src/fs/ioctl.js';
import { O_CREAT, O_DIRECTORY, O_NONBLOCK, O_RDWR, O_TMPFILE, O_TRUNC } from '../../src/fs/open-flags.js';
import { SEEK_DATA, SEEK_HOLE } from '../../src/fs/seek.js';
import { SB_RDONLY, type SuperBlock } from '../../src/fs/super-block.js';
import { LOCK_EX, LOCK_NB, LOCK_UN } from '../../src/fs/sys-fcntl.js';
import { AT_FDCWD } from '../../src/fs/sys-path.js';
import type { Syscalls } from '../../src/fs/syscalls.js';
import { fs_reclaim } from '../../src/locking/lock-map.js';
import { memory_failure } from '../../src/mm/memory-failure.js';
import { MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../src/mm/mmap.js';
import { shrink_node } from '../../src/mm/vmscan.js';
import { Task } from '../../src/sched/task.js';

export interface Scene {
  readonly name: string;
  /** @returns what must be the same whatever happens */
  run(sys: Syscalls, other: Syscalls, sb: SuperBlock): Promise<unknown>;
}

/** The outcome of a call: its errno's name where it fails. */
async function said<T>(call: Promise<T>): Promise<T | string> {
  try {
    return await call;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

async function create(sys: Syscalls, name: string, bytes = 5000): Promise<number> {
  const fd = await sys.open(name, O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(bytes, 'a'));
  return fd;
}

async function names(sys: Syscalls, path: string): Promise<string[]> {
  const fd = await sys.open(path, O_DIRECTORY);
  const found = await sys.getdents(fd);
  await sys.lseek(fd, 0, 0);
  await sys.close(fd);
  return found.map(({ name }) => name).sort();
}

export const SCENES: readonly Scene[] = [
  {
    name: 'names',
    run: async (sys, other) => {
      await sys.mkdir('/a', 0o755);
      await sys.mkdir('/b', 0o755);
      const both = await Promise.all(
        [sys, other].map(async (p, i) => {
          await p.close(await create(p, `/a/${i}`));
          await p.mkdir(`/a/d${i}`, 0o755);
          await p.symlink('target', `/a/s${i}`);
          await p.mknod(`/a/p${i}`, 0o010644);
          await p.link(`/a/${i}`, `/b/l${i}`);
          await p.rename(`/a/${i}`, `/b/${i}`);
          await p.rename(`/a/d${i}`, `/b/d${i}`);
          await p.rename(`/b/l${i}`, `/b/${i}`);
          await p.renameat2(AT_FDCWD, `/b/${i}`, AT_FDCWD, `/a/s${i}`, 2);
          const target = await p.readlink(`/b/${i}`);
          await p.unlink(`/a/p${i}`);
          await p.rmdir(`/b/d${i}`);
          const same = await Promise.all([said(p.mkdir('/same', 0o755)), said(p.stat('/b/nothing'))]);
          return [target, same[1]];
        }),
      );
      await sys.mkdir('/a/x', 0o755);
      await sys.mkdir('/b/x', 0o755);
      await sys.rename('/a/x', '/b/x');
      await sys.close(await sys.open('/a', O_TMPFILE | O_RDWR, 0o600));
      return [both, await names(sys, '/a'), await names(other, '/b')];
    },
  },
  {
    name: 'data',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/f', 100_000);
      const second = await other.open('/f', O_RDWR);
      await Promise.all([
        sys.pwrite(fd, Buffer.alloc(9000, 'b'), 3000),
        other.pwrite(second, Buffer.alloc(9000, 'c'), 50_000),
        sys.fsync(fd),
      ]);
      await drop_caches(new Task(sb.sched, sb.machine.validator, { comm: 'drop' }), sb, DROP_PAGECACHE);
      const [one, two] = await Promise.all([sys.pread(fd, 20_000, 0), other.pread(second, 20_000, 45_000)]);
      await sys.fallocate(fd, 3, 4096, 8192);
      await sys.fallocate(fd, 0, 0, 200_000);
      const holes = [await sys.lseek(fd, 0, SEEK_HOLE), await sys.lseek(fd, 0, SEEK_DATA)];
      const copy = await create(sys, '/g', 10);
      const copied = await said(sys.copy_file_range(fd, 0, copy, 0, 30_000));
      await sys.fdatasync(copy);
      await sys.pwrite(fd, Buffer.alloc(20_000, 'd'), 300_000);
      await sys.ftruncate(fd, 6000);
      await sys.ftruncate(fd, 60_000);
      await sys.close(await other.open('/f', O_RDWR | O_TRUNC));
      await sys.sync();
      return [sum(one), sum(two), holes, copied, (await sys.stat('/g')).size, (await sys.stat('/f')).size];
    },
  },
  {
    name: 'memory',
    run: async (sys, _other, sb) => {
      const { machine } = sb;
      const fd = await create(sys, '/r', 40_000);
      const task = new Task(sb.sched, machine.validator, { comm: 'reclaim' });
      const inside = fs_reclaim.enter(task);
      for (let pass = 0; pass < 3; pass++) await shrink_node(task, machine.memory, 8, 4);
      inside.release();
      await sys.fsync(fd);
      const mapping = sb.inodeHash.get((await sys.stat('/r')).ino)?.i_mapping;
      await sys.pread(fd, 40_000, 0);
      const bad = mapping?.i_pages.load(2);
      const failed = bad === undefined ? 'no page' : await memory_failure(task, bad);
      const swap = await create(sys, '/swap', 2 ** 20);
      await sys.fsync(swap);
      const swapping = [await said(sys.swapon(swap)), await said(sys.swapoff(swap))];
      return [failed, swapping, sum(await sys.pread(fd, 40_000, 0))];
    },
  },
  {
    name: 'mappings',
    run: async (sys) => {
      const fd = await create(sys, '/m', 20_000);
      await sys.fsync(fd);
      const shared = await sys.mmap(0, 20_480, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
      const own = await sys.mmap(0, 20_480, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
      await sys.store(shared + 5000, Buffer.from('mapped'));
      await sys.store(own + 5000, Buffer.from('own'));
      const read = (await sys.load(own + 5000, 6)).toString();
      await sys.msync(shared, 20_480, 4);
      await sys.mremap(own, 20_480, 40_960);
      await sys.munmap(shared, 20_480);
      return [read, (await sys.pread(fd, 6, 5000)).toString()];
    },
  },
  {
    name: 'attributes',
    run: async (sys, other) => {
      const fd = await create(sys, '/t');
      await Promise.all([
        sys.chmod('/t', 0o600),
        other.setxattr('/t', 'user.a', Buffer.from('1')),
        sys.setxattr('/t', 'user.b', Buffer.alloc(300, 'x')),
      ]);
      await sys.chown('/t', 5, 6);
      await sys.utimensat(AT_FDCWD, '/t', [
        { sec: 5, nsec: 0 },
        { sec: 6, nsec: 0 },
      ]);
      const flags = await said(sys.ioctl(fd, FS_IOC_SETFLAGS, Buffer.from([0x40, 0, 0, 0])));
      const seen = [await sys.listxattr('/t'), String(await sys.getxattr('/t', 'user.a')), flags];
      await sys.removexattr('/t', 'user.a');
      const got = await said(sys.ioctl(fd, FS_IOC_GETFLAGS, Buffer.alloc(4)));
      const { mode, uid, gid } = await other.stat('/t');
      return [seen, got, mode, uid, gid, (await said(sys.access('/t', 4))) === undefined];
    },
  },
  {
    name: 'locks',
    run: async (sys, other) => {
      const fd = await create(sys, '/l');
      const second = await other.open('/l', O_RDWR);
      await sys.fcntl_lock(fd, { l_type: 'F_WRLCK', l_start: 0, l_len: 10 });
      const refused = await said(other.fcntl_lock(second, { l_type: 'F_WRLCK', l_start: 0, l_len: 5 }));
      const waiting = other.fcntl_lock(second, { l_type: 'F_RDLCK', l_start: 0, l_len: 5 }, true);
      await sys.fcntl_lock(fd, { l_type: 'F_UNLCK', l_start: 0, l_len: 10 });
      await waiting;
      await sys.flock(fd, LOCK_EX);
      const busy = await said(other.flock(second, LOCK_EX | LOCK_NB));
      await sys.flock(fd, LOCK_UN);
      await other.close(second);
      await sys.close(fd);
      const reader = await sys.open('/l', 0);
      await sys.fcntl_lease(reader, 'F_RDLCK');
      const breaks = await said(other.open('/l', O_RDWR | O_NONBLOCK));
      await sys.fcntl_lease(reader, 'F_UNLCK');
      return [refused, busy, breaks];
    },
  },
  {
    name: 'superblock',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/s');
      const root = await sys.open('/', O_DIRECTORY);
      await sys.syncfs(fd);
      await sys.ioctl(root, FIFREEZE);
      const writing = other.chmod('/s', 0o600);
      await sys.ioctl(root, FITHAW);
      await writing;
      await sys.statfs('/');
      await sys.ustat(sb);
      await sys.close(fd);
      await sys.unlink('/s');
      await sys.close(root);
      await sys.remount('/', SB_RDONLY, '');
      await sys.remount('/', 0, '');
      await drop_caches(new Task(sb.sched, sb.machine.validator, { comm: 'drop' }), sb, DROP_PAGECACHE | DROP_SLAB);
      await sys.show_mounts();
      return names(sys, '/');
    },
  },
];

function sum(bytes: Buffer): number {
  return bytes.reduce((total, byte, i) => (total * 31 + byte + i) >>> 0, 0);
}
