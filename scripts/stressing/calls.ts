/** The system calls of the stress, each with how often it is made compared with the others. They may fail; what they may not do is break a rule, hang or go wrong. */

import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../src/fs/drop-caches.js';
import { igrab, iput } from '../../src/fs/icache.js';
import type { Inode } from '../../src/fs/inode.js';
import { fs_reclaim } from '../../src/locking/lock-map.js';
import { compact_memory } from '../../src/mm/compaction.js';
import { folio_get, folio_put } from '../../src/mm/folio.js';
import { shrink_node } from '../../src/mm/vmscan.js';
import { Task } from '../../src/sched/task.js';
import {
  AT_FDCWD,
  FASYNC,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_APPEND,
  O_CREAT,
  O_DIRECT,
  O_DIRECTORY,
  O_EXCL,
  O_NONBLOCK,
  O_RDWR,
  O_SYNC,
  O_TMPFILE,
  O_TRUNC,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../../src/uapi/fcntl.js';
import { RWF_HIPRI, SEEK_DATA, SEEK_HOLE } from '../../src/uapi/fs.js';
import { FIFREEZE, FITHAW, FS_IOC_FIEMAP, FS_IOC_GETFLAGS } from '../../src/uapi/ioctl.js';
import { MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.js';
import type { Actor } from './actor.js';

interface Call {
  readonly name: string;
  readonly weight: number;
  run(actor: Actor): Promise<unknown>;
}

const pick = <T>(a: Actor, ...values: [T, ...T[]]): T => values[a.choose(values.length)] ?? values[0];

/** A task of the kernel's own, that nobody's system call runs in. */
async function kthread(a: Actor, comm: string, body: (task: Task) => Promise<unknown>): Promise<void> {
  await body(new Task(a.sb.sched, a.sb.machine.validator, { comm }));
}

const NAMES: readonly Call[] = [
  {
    name: 'open',
    weight: 14,
    run: async (a) => {
      const how = pick(
        a,
        O_CREAT,
        O_CREAT,
        O_CREAT | O_EXCL,
        O_TRUNC,
        O_APPEND | O_CREAT,
        O_DIRECT,
        O_SYNC,
        O_NONBLOCK,
      );
      await a.opened(await a.sys.open(a.path(), O_RDWR | how, 0o644));
    },
  },
  {
    name: 'openat2',
    weight: 4,
    run: async (a) => {
      const resolve = pick(a, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_CACHED, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV);
      const made = pick(a, 0, O_CREAT);
      const how = { flags: O_RDWR | made, mode: made === 0 ? 0 : 0o644, resolve };
      await a.opened(await a.sys.openat2(pick(a, AT_FDCWD, a.fd()), a.path().slice(a.choose(2)), how));
    },
  },
  { name: 'open directory', weight: 4, run: async (a) => a.opened(await a.sys.open(a.path(), O_DIRECTORY)) },
  {
    name: 'tmpfile',
    weight: 2,
    run: async (a) => {
      const fd = await a.sys.open(`/d${a.choose(3)}`, O_TMPFILE | O_RDWR, 0o600);
      await a.opened(fd);
      await a.sys.linkat(fd, '', AT_FDCWD, a.path(), 0x1000);
    },
  },
  {
    name: 'close',
    weight: 8,
    run: async (a) => {
      const [fd] = a.fds.splice(a.choose(Math.max(1, a.fds.length)), 1);
      if (fd !== undefined) await a.sys.close(fd);
    },
  },
  { name: 'mkdir', weight: 4, run: (a) => a.sys.mkdir(`/d${a.choose(3)}/e${a.choose(3)}`, 0o755) },
  { name: 'rmdir', weight: 3, run: (a) => a.sys.rmdir(`/d${a.choose(3)}/e${a.choose(3)}`) },
  { name: 'unlink', weight: 6, run: (a) => a.sys.unlink(a.path()) },
  { name: 'link', weight: 4, run: (a) => a.sys.link(a.path(), a.path()) },
  { name: 'symlink', weight: 2, run: (a) => a.sys.symlink(a.path(), a.path()) },
  { name: 'readlink', weight: 2, run: (a) => a.sys.readlink(a.path()) },
  { name: 'mknod', weight: 1, run: (a) => a.sys.mknod(a.path(), 0o140644) },
  { name: 'rename', weight: 8, run: (a) => a.sys.rename(a.path(), a.path()) },
  {
    name: 'renameat2',
    weight: 4,
    run: (a) => a.sys.renameat2(AT_FDCWD, a.path(), AT_FDCWD, a.path(), pick(a, 1, 2, 4)),
  },
  { name: 'stat', weight: 8, run: (a) => a.sys.stat(a.path()) },
  { name: 'access', weight: 2, run: (a) => a.sys.access(a.path(), a.choose(8)) },
  { name: 'getdents', weight: 5, run: (a) => a.sys.getdents(a.fd(), 1 + a.choose(20)) },
  {
    name: 'chdir',
    weight: 1,
    run: async (a) => {
      await a.sys.chdir(a.path());
      return a.sys.getcwd();
    },
  },
];

const DATA: readonly Call[] = [
  { name: 'pwrite', weight: 16, run: (a) => a.sys.pwrite(a.fd(), a.bytes(pick(a, 100, 5000, 40_000)), a.place()) },
  { name: 'write', weight: 6, run: (a) => a.sys.write(a.fd(), a.bytes(9000)) },
  { name: 'pread', weight: 14, run: (a) => a.sys.pread(a.fd(), 1 + a.choose(60_000), a.place()) },
  { name: 'lseek', weight: 3, run: (a) => a.sys.lseek(a.fd(), a.choose(100_000), pick(a, 0, SEEK_HOLE, SEEK_DATA)) },
  { name: 'ftruncate', weight: 5, run: (a) => a.sys.ftruncate(a.fd(), a.place()) },
  { name: 'truncate', weight: 2, run: (a) => a.sys.truncate(a.path(), a.place()) },
  {
    name: 'fallocate',
    weight: 6,
    run: (a) => {
      const whole = a.choose(2) === 0;
      const offset = whole ? a.choose(30) * 4096 : a.place();
      const length = whole ? (1 + a.choose(20)) * 4096 : 1 + a.choose(60_000);
      // Keep the size, punch, collapse, zero, insert.
      return a.sys.fallocate(a.fd(), pick(a, 0, 1, 3, 0x8, 0x10, 0x11, 0x20), offset, length);
    },
  },
  { name: 'fsync', weight: 3, run: (a) => a.sys.fsync(a.fd()) },
  { name: 'fdatasync', weight: 3, run: (a) => a.sys.fdatasync(a.fd()) },
  {
    name: 'sync_file_range',
    weight: 2,
    run: (a) => a.sys.sync_file_range(a.fd(), a.place(), a.choose(50_000), a.choose(8)),
  },
  { name: 'sync', weight: 1, run: (a) => a.sys.sync() },
  { name: 'fadvise', weight: 2, run: (a) => a.sys.fadvise(a.fd(), a.place(), a.choose(50_000), a.choose(6)) },
  {
    name: 'copy_file_range',
    weight: 3,
    run: (a) => a.sys.copy_file_range(a.fd(), a.place(), a.fd(), a.place(), a.choose(50_000)),
  },
  { name: 'sendfile', weight: 1, run: (a) => a.sys.sendfile(a.fd(), a.fd(), a.place(), a.choose(20_000)) },
  {
    name: 'fiemap',
    weight: 2,
    run: (a) => {
      const map = Buffer.alloc(32 + 4 * 56);
      map.writeBigUInt64LE(1n << 40n, 8);
      map.writeUInt32LE(a.choose(2), 16);
      map.writeUInt32LE(4, 24);
      return a.sys.ioctl(a.fd(), FS_IOC_FIEMAP, map);
    },
  },
];

const MEMORY: readonly Call[] = [
  {
    name: 'mmap',
    weight: 5,
    run: async (a) => {
      const length = (1 + a.choose(20)) * 4096;
      const kind = pick(a, MAP_SHARED, MAP_SHARED, MAP_PRIVATE);
      const addr = await a.sys.mmap(0, length, PROT_READ | PROT_WRITE, kind, a.fd(), a.choose(10) * 4096);
      a.maps.push({ addr, length });
    },
  },
  { name: 'load', weight: 8, run: (a) => inMap(a, (at, most) => a.sys.load(at, most)) },
  { name: 'store', weight: 10, run: (a) => inMap(a, (at, most) => a.sys.store(at, Buffer.alloc(most, a.choose(256)))) },
  { name: 'msync', weight: 3, run: (a) => inMap(a, (at) => a.sys.msync(at - (at % 4096), 4096, pick(a, 1, 2, 4))) },
  { name: 'madvise', weight: 2, run: (a) => inMap(a, (at) => a.sys.madvise(at - (at % 4096), 4096, a.choose(5))) },
  {
    name: 'mprotect',
    weight: 1,
    run: (a) => inMap(a, (at) => a.sys.mprotect(at - (at % 4096), 4096, pick(a, 1, 3, 3))),
  },
  {
    name: 'munmap',
    weight: 5,
    run: async (a) => {
      const [map] = a.maps.splice(a.choose(Math.max(1, a.maps.length)), 1);
      if (map !== undefined) await a.sys.munmap(map.addr, map.length);
    },
  },
  {
    name: 'compaction',
    weight: 1,
    run: (a) => kthread(a, 'kcompactd', (task) => compact_memory(task, a.sb.machine.memory, 'MIGRATE_SYNC')),
  },
  {
    name: 'reclaim',
    weight: 2,
    run: (a) =>
      kthread(a, 'kswapd', async (task) => {
        using _reclaim = fs_reclaim.enter(task);
        await shrink_node(task, a.sb.machine.memory, 1 + a.choose(64), a.choose(12));
      }),
  },
  {
    name: 'drop_caches',
    weight: 1,
    run: (a) =>
      kthread(a, 'drop_caches', (task) =>
        drop_caches(task, a.sb, pick(a, DROP_PAGECACHE, DROP_SLAB, DROP_PAGECACHE | DROP_SLAB)),
      ),
  },
];

/** Let the others go on for so many milliseconds. */
function nap(a: Actor, ms: number): Promise<void> {
  return new Promise((resolve) => {
    a.sb.sched.timer(ms, resolve);
  });
}

function inodeOfRoot(a: Actor): Inode {
  const inode = a.sb.s_root?.d_inode;
  if (inode === undefined) throw new Error('not mounted');
  return inode;
}

/** What is in a directory, and in a file below it. */
async function lookAround(a: Actor, path: string): Promise<void> {
  const dir = await a.sys.open(path, O_DIRECTORY);
  try {
    const names = (await a.sys.getdents(dir)).map(({ name }) => name);
    const fd = await a.sys.openat(dir, names[a.choose(names.length)] ?? '.', 0);
    await a.sys.read(fd, 5000).finally(() => a.sys.close(fd));
  } finally {
    await a.sys.close(dir);
  }
}

/** Somewhere in a mapping. */
async function inMap(a: Actor, use: (at: number, most: number) => Promise<unknown>): Promise<void> {
  const map = a.maps[a.choose(Math.max(1, a.maps.length))];
  if (map === undefined) return;
  const at = a.choose(map.length);
  await use(map.addr + at, Math.min(map.length - at, 1 + a.choose(9000)));
}

const REST: readonly Call[] = [
  { name: 'chmod', weight: 2, run: (a) => a.sys.chmod(a.path(), 0o600 + a.choose(64)) },
  { name: 'chown', weight: 2, run: (a) => a.sys.lchown(a.path(), a.choose(3), a.choose(3)) },
  {
    name: 'utimensat',
    weight: 1,
    run: (a) =>
      a.sys.utimensat(AT_FDCWD, a.path(), [
        { sec: a.choose(1000), nsec: 0 },
        { sec: 5, nsec: a.choose(1000) },
      ]),
  },
  {
    name: 'setxattr',
    weight: 4,
    run: (a) => a.sys.setxattr(a.path(), `user.${a.choose(5)}`, a.bytes(pick(a, 50, 3000))),
  },
  { name: 'getxattr', weight: 2, run: (a) => a.sys.getxattr(a.path(), `user.${a.choose(5)}`) },
  { name: 'listxattr', weight: 2, run: (a) => a.sys.listxattr(a.path()) },
  { name: 'removexattr', weight: 2, run: (a) => a.sys.removexattr(a.path(), `user.${a.choose(5)}`) },
  { name: 'getflags', weight: 1, run: (a) => a.sys.ioctl(a.fd(), FS_IOC_GETFLAGS, Buffer.alloc(4)) },
  { name: 'statfs', weight: 1, run: (a) => a.sys.statfs(a.path()) },
  {
    name: 'fcntl lock',
    weight: 4,
    run: (a) =>
      a.sys.fcntl_lock(a.fd(), {
        l_type: pick(a, 'F_RDLCK', 'F_WRLCK', 'F_UNLCK'),
        l_start: a.choose(50),
        l_len: a.choose(50),
      }),
  },
  { name: 'flock', weight: 3, run: (a) => a.sys.flock(a.fd(), pick(a, LOCK_SH | LOCK_NB, LOCK_EX | LOCK_NB, LOCK_UN)) },
  {
    // It is given back at once: who opens the file that it has leased itself waits for itself, as on Linux.
    name: 'lease',
    weight: 2,
    run: async (a) => {
      const fd = a.fd();
      await a.sys.fcntl_lease(fd, pick(a, 'F_RDLCK', 'F_WRLCK'));
      await nap(a, a.choose(5));
      await a.sys.fcntl_lease(fd, 'F_UNLCK');
    },
  },
  {
    name: 'wait for a lock',
    weight: 2,
    run: async (a) => {
      const fd = a.fd();
      const [l_start, l_len] = [a.choose(50), 1 + a.choose(20)];
      const waiting = a.sys.fcntl_lock(fd, { l_type: 'F_WRLCK', l_start, l_len }, true);
      const over = waiting.then(
        () => a.sys.fcntl_lock(fd, { l_type: 'F_UNLCK', l_start, l_len }),
        () => undefined,
      );
      await Promise.race([over, nap(a, 5)]);
      a.process.signal('SIGALRM');
      await over;
    },
  },
  { name: 'signal', weight: 1, run: async (a) => a.process.signal('SIGUSR1') },
  {
    name: 'freeze and thaw',
    weight: 1,
    run: async (a) => {
      const fd = await a.sys.open('/', O_DIRECTORY);
      try {
        await a.sys.ioctl(fd, FIFREEZE, Buffer.alloc(0));
        await a.sys.ioctl(fd, FITHAW, Buffer.alloc(0));
      } finally {
        await a.sys.close(fd);
      }
    },
  },
  {
    // Others meet a lock that is not free, wherever they take it.
    name: 'hold a lock',
    weight: 4,
    run: (a) =>
      kthread(a, 'holder', async (task) => {
        const known = [...a.sb.inodeHash.values()].filter(({ i_count }) => i_count > 0);
        const inode = igrab(task, known[a.choose(Math.max(1, known.length))] ?? inodeOfRoot(a));
        if (inode === undefined) return;
        const lock = (a.choose(2) === 0 ? inode.mappingIfAny?.invalidate_lock : undefined) ?? inode.i_rwsem;
        const held = await (a.choose(3) === 0 ? lock.write(task) : lock.read(task));
        for (let turns = a.choose(6); turns > 0; turns--) await task.sched.yield();
        held.release();
        await iput(task, inode);
      }),
  },
  {
    // A page as well: who only tries for it goes by.
    name: 'hold a page',
    weight: 4,
    run: (a) =>
      kthread(a, 'holder', async (task) => {
        const known = [...a.sb.inodeHash.values()].filter(({ mappingIfAny: mapping }) => (mapping?.nrpages ?? 0) > 0);
        const mapping = known[a.choose(Math.max(1, known.length))]?.mappingIfAny;
        const [folio] = mapping?.i_pages.collect(a.choose(20), Number.POSITIVE_INFINITY, 1) ?? [];
        if (folio === undefined) return;
        folio_get(folio);
        const held = await folio.lock.lock(task);
        for (let turns = a.choose(6); turns > 0; turns--) await task.sched.yield();
        held.release();
        folio_put(folio);
      }),
  },
  {
    name: 'overlay',
    weight: 1,
    run: async (a) => {
      const merged = `/merged-${a.process.pid}`;
      await a.sys.mkdir(merged, 0o755);
      try {
        await a.sys.mount_overlay(merged, [`/d${a.choose(3)}`, `/d${a.choose(3)}`]);
        try {
          await lookAround(a, merged);
        } finally {
          await a.sys.umount2(merged, 0);
        }
      } finally {
        await a.sys.rmdir(merged);
      }
    },
  },
  { name: 'remount', weight: 1, run: (a) => a.sys.remount('/', 0, '') },
];

const DESCRIPTORS: readonly Call[] = [
  {
    name: 'pipe',
    weight: 2,
    run: async (a) => {
      for (const fd of await a.sys.pipe2(O_NONBLOCK)) await a.opened(fd);
    },
  },
  { name: 'splice', weight: 4, run: (a) => a.sys.splice(a.fd(), undefined, a.fd(), undefined, 1 + a.choose(20_000)) },
  { name: 'read', weight: 4, run: (a) => a.sys.read(a.fd(), 1 + a.choose(9000)) },
  { name: 'polled read', weight: 3, run: (a) => a.sys.preadv2(a.fd(), 4096 * (1 + a.choose(9)), 0, RWF_HIPRI) },
  { name: 'poll', weight: 2, run: (a) => a.sys.poll([{ fd: a.fd(), events: 5 }], a.choose(3)) },
  { name: 'dup', weight: 2, run: async (a) => a.opened(await a.sys.dup(a.fd())) },
  { name: 'fasync', weight: 1, run: (a) => a.sys.fcntl_setfl(a.fd(), pick(a, FASYNC | O_NONBLOCK, O_NONBLOCK)) },
  {
    // Nothing is swapped to it unless memory is scarce, which it is.
    name: 'swap',
    weight: 1,
    run: async (a) => {
      const fd = await a.sys.open('/swap', O_CREAT | O_RDWR, 0o600);
      try {
        await a.sys.pwrite(fd, Buffer.alloc(2 ** 19), 0);
        await a.sys.fsync(fd);
        await a.sys.swapon(fd);
        await nap(a, a.choose(20));
        await a.sys.swapoff(fd);
      } finally {
        await a.sys.close(fd);
      }
    },
  },
];

export const CALLS: readonly Call[] = [...NAMES, ...DATA, ...MEMORY, ...DESCRIPTORS, ...REST];
const TOTAL = CALLS.reduce((sum, { weight }) => sum + weight, 0);

/** One of them, by their weights. */
export function someCall(choose: (n: number) => number): Call {
  let at = choose(TOTAL);
  for (const call of CALLS) {
    at -= call.weight;
    if (at < 0) return call;
  }
  throw new Error('the weights do not add up');
}
