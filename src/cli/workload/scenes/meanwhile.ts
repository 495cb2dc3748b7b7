/** Scenes of what is under way when something begins that has to wait for it. */

import { dget, dput } from '../../../fs/dcache.js';
import { d_splice_alias } from '../../../fs/dcache-alias.js';
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../../fs/drop-caches.js';
import { fput } from '../../../fs/file-table.js';
import { ihold } from '../../../fs/icache.js';
import { open_or_create } from '../../../fs/namei/open-last.js';
import { vfs_iocb_iter_read } from '../../../fs/read-write.js';
import type { SuperBlock } from '../../../fs/super-block.js';
import { sync_filesystem } from '../../../fs/sync.js';
import type { Syscalls } from '../../../fs/syscalls.js';
import { IovIter } from '../../../mm/iov-iter.js';
import { IOCB_QUEUED, type Kiocb } from '../../../mm/operations.js';
import { Errno } from '../../../sched/errno.js';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from '../../../uapi/falloc.js';
import { O_CREAT, O_DIRECTORY, O_RDWR } from '../../../uapi/fcntl.js';
import { FIFREEZE, FITHAW } from '../../../uapi/ioctl.js';
import { names, type Scene, said, sum } from './scene.js';
import { cold, kthread, onSlow } from './slow.js';

const P = 4096;
/** A hole, and the file as long as it was. */
const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

/**
 * Read past the cache without waiting for it, and call `body` meanwhile.
 * @returns the bytes read, or an errno's name, once both are over
 */
async function whileRead(sb: SuperBlock, name: string, body: () => Promise<unknown>): Promise<number | string> {
  const { s_root: root } = sb;
  if (root === undefined) throw new Error('not mounted');
  const task = kthread(sb, 'aio');
  const { file, dentry } = await open_or_create(task, dget(root), name, O_RDWR, 0);
  const iter = IovIter.ofDest(8 * P);
  let done = false;
  const ended = new Promise<number | Errno>((resolve) => {
    const iocb: Kiocb = {
      ki_filp: file,
      ki_pos: 0,
      direct: true,
      sync: false,
      append: false,
      nowait: false,
      ki_complete: (_task, result) => {
        done = true;
        resolve(result);
      },
    };
    const queue = async (): Promise<void> => {
      const read = await vfs_iocb_iter_read(task, file, iocb, iter);
      if (read !== IOCB_QUEUED) resolve(read);
    };
    queue().catch((error: unknown) => resolve(error instanceof Errno ? error : new Errno('EIO')));
  });
  await body();
  const early = done ? 'over' : 'under way';
  const result = await ended;
  await fput(task, file);
  await dput(task, dentry);
  await dput(task, root);
  return result instanceof Errno ? result.code : `${result} bytes, ${early}`;
}

/** What frees blocks of a file, or moves them. */
const CHANGES: readonly (readonly [string, (sys: Syscalls, fd: number, hole: number) => Promise<unknown>])[] = [
  ['cut', (sys, fd) => sys.ftruncate(fd, 2 * P)],
  ['punched', (sys, fd) => sys.fallocate(fd, PUNCH, P, 4 * P)],
  ['zeroed', (sys, fd) => sys.fallocate(fd, FALLOC_FL_ZERO_RANGE, P, 4 * P)],
  ['collapsed', (sys, fd) => sys.fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, P, 4 * P)],
  ['copied to', (sys, fd, hole) => sys.copy_file_range(hole, 0, fd, 0, 8 * P)],
  ['cloned to', (sys, fd, hole) => sys.clone_file_range(hole, 0, 8 * P, fd, 0)],
];

export const MEANWHILE: readonly Scene[] = [
  {
    name: 'blocks that go while they are read past the cache',
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, _another, slow) => {
        const hole = await sys.open('/hole', O_CREAT | O_RDWR, 0o644);
        await sys.ftruncate(hole, 8 * P);
        const seen: unknown[] = [];
        for (const [what, change] of CHANGES) {
          const fd = await cold(sys, slow, what, 16);
          const read = await whileRead(slow, what, () => change(sys, fd, hole));
          seen.push([what, read, (await sys.fstat(fd)).size, sum(await sys.pread(fd, 16 * P, 0))]);
        }
        return seen;
      }),
  },
  {
    name: 'a file that is looked up by two names while it is read',
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, other, slow) => {
        await sys.close(await cold(sys, slow, '/f', 2));
        await sys.link('/f', '/g');
        await sync_filesystem(kthread(slow, 'sync'), slow);
        await drop_caches(kthread(slow, 'drop_caches'), slow, DROP_SLAB | DROP_PAGECACHE);
        const [f, g] = await Promise.all([sys.stat('/f'), other.stat('/g')]);
        return [f.ino === g.ino, f.size, g.size, f.nlink];
      }),
  },
  {
    name: 'a freeze while data are written',
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, other, slow) => {
        const fd = await cold(sys, slow, '/f', 4);
        const root = await other.open('/', O_DIRECTORY);
        const order: string[] = [];
        const written = sys.pwrite(fd, Buffer.from('late'), 2 * P + 5).then(() => order.push('written'));
        await other.ioctl(root, FIFREEZE);
        order.push('frozen');
        const kept = sys.pwrite(fd, Buffer.from('later'), P + 5).then(() => order.push('written again'));
        for (let i = 0; i < 10; i++) await slow.sched.yield();
        order.push('thawed');
        await other.ioctl(root, FITHAW);
        await Promise.all([written, kept]);
        return [order, sum(await sys.pread(fd, 4 * P, 0))];
      }),
  },
  {
    name: 'a directory that is found in another place',
    lends: true,
    run: async (sys, other, sb) => {
      for (const dir of ['/a', '/a/d', '/a/d/e', '/b']) await sys.mkdir(dir, 0o755);
      const [a, d, b] = await Promise.all(
        ['/a', '/a/d', '/b'].map(async (path) => sb.inodeHash.get((await sys.stat(path)).ino)),
      );
      if (a === undefined || b === undefined || d === undefined) return 'no inode';
      const { i_op: ops } = b;
      // Somebody has moved it behind the kernel.
      b.i_op = {
        ...ops,
        lookup: (task, dir, dentry, flags) => {
          if (dentry.d_name !== 'd') return ops.lookup?.(task, dir, dentry, flags);
          ihold(d);
          return d_splice_alias(task, d, dentry);
        },
      };
      const holder = kthread(sb, 'holder');
      const renaming = await sb.s_vfs_rename_sem.lock(holder);
      const first = await said(other.stat('/b/d/e'));
      renaming.release();
      const busy = await a.i_rwsem.write(holder);
      const second = await said(other.stat('/b/d/e'));
      busy.release();
      const third = await said(other.stat('/b/d/e'));
      b.i_op = ops;
      const back = await said(other.stat('/a/d/e'));
      return [first, second, typeof third, typeof back, await names(sys, '/a'), await names(sys, '/b')];
    },
  },
];
