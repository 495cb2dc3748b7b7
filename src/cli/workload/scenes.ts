/** A fixed workload: short scenes through system calls, two processes at a time, whose results can be compared. */
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../fs/drop-caches.js';
import type { file_lock_operations, lock_manager_operations } from '../../fs/file-lock-operations.js';
import { generic_drop_inode, iput } from '../../fs/icache.js';
import { FIBMAP, FIFREEZE, FITHAW, FS_IOC_FIEMAP, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../fs/ioctl.js';
import { generic_setlease, lease_manager_ops } from '../../fs/leases.js';
import { locks_get_lock_context } from '../../fs/lock-list.js';
import { FASYNC, O_CREAT, O_DIRECTORY, O_NONBLOCK, O_RDWR, O_TMPFILE, O_TRUNC } from '../../fs/open-flags.js';
import type { dentry_operations } from '../../fs/operations.js';
import { posix_lock_file } from '../../fs/posix-locks.js';
import { SEEK_DATA, SEEK_HOLE } from '../../fs/seek.js';
import { SB_RDONLY, type SuperBlock } from '../../fs/super-block.js';
import { LOCK_EX, LOCK_NB, LOCK_UN } from '../../fs/sys-fcntl.js';
import { AT_FDCWD } from '../../fs/sys-path.js';
import type { Syscalls } from '../../fs/syscalls.js';
import { GUARDED, guard_read, guard_write } from '../../locking/guarded.js';
import { fs_reclaim } from '../../locking/lock-map.js';
import { compact_memory } from '../../mm/compaction.js';
import { memory_failure } from '../../mm/memory-failure.js';
import { MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../mm/mmap.js';
import { shrink_node } from '../../mm/vmscan.js';
import { Task } from '../../sched/task.js';

export interface Scene {
  readonly name: string;
  /** It gives the filesystem callbacks that latch does not have of itself. */
  readonly lends?: true;
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
      const map = Buffer.alloc(32);
      map.writeBigUInt64LE(1n << 40n, 8);
      const extents = (await sys.ioctl(fd, FS_IOC_FIEMAP, map)).readUInt32LE(20) > 0;
      const mapped = (await sys.ioctl(fd, FIBMAP, Buffer.alloc(4))).readInt32LE(0) > 0;
      const copy = await create(sys, '/g', 10);
      const copied = await said(sys.copy_file_range(fd, 0, copy, 0, 30_000));
      await sys.fdatasync(copy);
      await sys.pwrite(fd, Buffer.alloc(20_000, 'd'), 300_000);
      await sys.ftruncate(fd, 6000);
      await sys.ftruncate(fd, 60_000);
      await sys.close(await other.open('/f', O_RDWR | O_TRUNC));
      await sys.sync();
      return [
        sum(one),
        sum(two),
        holes,
        extents,
        mapped,
        copied,
        (await sys.stat('/g')).size,
        (await sys.stat('/f')).size,
      ];
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
      await compact_memory(task, machine.memory, 'MIGRATE_SYNC');
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
      await sys.store(shared + 9000, Buffer.from('again'));
      await sys.mremap(own, 20_480, 40_960);
      await sys.munmap(shared, 20_480);
      return [read, (await sys.pread(fd, 6, 5000)).toString()];
    },
  },
  {
    name: 'descriptors',
    run: async (sys, other) => {
      const fd = await create(sys, '/d', 9000);
      const [from, to] = await sys.pipe2(O_NONBLOCK);
      await sys.fcntl_setfl(from, FASYNC | O_NONBLOCK);
      const empty = await sys.poll([{ fd: from, events: 1 }], 0);
      const through = await sys.splice(fd, 0, to, undefined, 4096);
      const full = await sys.poll([{ fd: from, events: 1 }], 0);
      const copy = await sys.open('/e', O_CREAT | O_RDWR, 0o644);
      const out = await sys.splice(from, undefined, copy, 100, 4096);
      await sys.write(to, Buffer.from('piped'));
      const read = String(await sys.read(from, 10));
      const sent = await sys.sendfile(copy, fd, 0, 3000);
      const advised = await said(Promise.resolve(sys.fadvise(fd, 0, 0, 4)));
      const cloned = await said(sys.clone_file_range(fd, 0, 4096, copy, 0));
      const second = await other.open('/e', O_RDWR);
      const size = (await other.fstat(second)).size;
      return [empty, full, through, out, read, sent, advised, cloned, size];
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
      const seen = [(await sys.listxattr('/t')).sort(), String(await sys.getxattr('/t', 'user.a')), flags];
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
    name: 'callbacks of names',
    lends: true,
    run: async (sys, _other, sb) => {
      const { s_root: root } = sb;
      const folded: dentry_operations = {
        d_hash: (_task, _dentry, name) => name.toLowerCase(),
        d_compare: (_task, _dentry, candidate, name) => candidate.toLowerCase() === name.toLowerCase(),
        d_revalidate: () => true,
        d_weak_revalidate: () => true,
        d_delete: (task, dentry) => !guard_write(task, GUARDED.d_inode, dentry.d_lock),
        d_init: () => undefined,
        d_release: () => undefined,
        d_prune: (task, dentry) => void guard_write(task, GUARDED.d_inode, dentry.d_lock),
        d_iput: (task, _dentry, inode) => iput(task, inode),
        d_manage: () => undefined,
      };
      sb.s_d_op = folded;
      if (root !== undefined) root.d_op = folded;
      sb.s_op = {
        ...sb.s_op,
        drop_inode: (task, inode) => guard_write(task, GUARDED.i_state, inode.i_lock) && generic_drop_inode(inode),
        free_inode: () => undefined,
      };
      await sys.mkdir('/Dir', 0o755);
      await sys.symlink('dir', '/Link');
      const fd = await create(sys, '/dir/Name');
      const same = (await sys.stat('/DIR/name')).ino === (await sys.stat('/link/NAME')).ino;
      await sys.close(fd);
      await sys.unlink('/dir/NAME');
      await sys.chdir('/dir');
      const where = await sys.getcwd();
      await sys.chdir('/');
      await drop_caches(new Task(sb.sched, sb.machine.validator, { comm: 'drop' }), sb, DROP_SLAB);
      return [same, where, await names(sys, '/')];
    },
  },
  {
    name: 'callbacks of locks',
    lends: true,
    run: async (sys, other, sb) => {
      await sys.close(await create(sys, '/l'));
      const inode = sb.inodeHash.get((await sys.stat('/l')).ino);
      if (inode === undefined) return 'no inode';
      // What these do in earnest is look at the other locks of the file.
      const look = (task: Task): void => {
        guard_read(task, GUARDED.flc_lists, locks_get_lock_context(inode).flc_lock);
      };
      const refuse = (task: Task): boolean => {
        look(task);
        return false;
      };
      const fl_ops: file_lock_operations = {
        fl_copy_lock: look,
        fl_release_private: (task, lock) => (lock.kind === 'lease' ? look(task) : undefined),
      };
      const fl_lmops: lock_manager_operations = { ...lease_manager_ops, lm_breaker_owns_lease: refuse };
      inode.i_fop = {
        ...inode.i_fop,
        setlease: (task, file, _arg, lease) => generic_setlease(task, file, { ...lease, fl_ops, fl_lmops }),
        lock: async (task, file, _cmd, lock) => {
          const own: lock_manager_operations = { lm_lock_expirable: refuse, lm_expire_lock: () => undefined };
          await posix_lock_file(task, file, { ...lock, fl_ops, fl_lmops: own });
        },
      };
      const [a, b] = [await sys.open('/l', O_RDWR), await other.open('/l', O_RDWR)];
      await sys.fcntl_lock(a, { l_type: 'F_WRLCK', l_start: 0, l_len: 100 });
      await sys.fcntl_lock(a, { l_type: 'F_UNLCK', l_start: 10, l_len: 10 });
      const refused = await said(other.fcntl_lock(b, { l_type: 'F_WRLCK', l_start: 0, l_len: 5 }));
      await sys.close(a);
      await other.close(b);
      const reader = await sys.open('/l', 0);
      await sys.fcntl_lease(reader, 'F_RDLCK');
      const broken = await said(other.open('/l', O_RDWR | O_NONBLOCK));
      await sys.fcntl_lease(reader, 'F_UNLCK');
      return [refused, broken];
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
