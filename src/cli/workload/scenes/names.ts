/** Scenes of names and of what a dentry calls. */

import { DROP_SLAB, drop_caches } from '../../../fs/drop-caches.js';
import { generic_drop_inode, iput } from '../../../fs/icache.js';
import type { dentry_operations } from '../../../fs/operations.js';
import { GUARDED, guard_write } from '../../../locking/guarded.js';
import { Task } from '../../../sched/task.js';
import { AT_FDCWD, O_DIRECTORY, O_RDWR, O_TMPFILE } from '../../../uapi/fcntl.js';
import { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../../uapi/ioctl.js';
import { create, names, type Scene, said } from './scene.js';

/** FS_CASEFOLD_FL. */
const FOLDED = Buffer.from([0, 0, 0, 0x40]);

export const NAMES: readonly Scene[] = [
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
          await p.mknod(`/b/r${i}`, 0o100644);
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
    name: 'names without regard to case',
    run: async (sys, other, sb) => {
      await sys.mkdir('/Folded', 0o755);
      const missing = await said(sys.stat('/Folded/name'));
      const dir = await sys.open('/Folded', O_DIRECTORY);
      await sys.ioctl(dir, FS_IOC_SETFLAGS, FOLDED);
      await sys.close(await create(sys, '/Folded/Name'));
      const same = (await other.stat('/Folded/NAME')).ino === (await sys.stat('/Folded/name')).ino;
      await other.mkdir('/Folded/Sub', 0o755);
      await other.rename('/Folded/nAME', '/Folded/SUB/other');
      await drop_caches(new Task(sb.sched, sb.machine.validator, { comm: 'drop' }), sb, DROP_SLAB);
      const moved = (await sys.stat('/Folded/sub/OTHER')).size;
      const busy = await said(sys.ioctl(dir, FS_IOC_SETFLAGS, Buffer.alloc(4)));
      await sys.close(dir);
      return [missing, same, moved, busy, await names(sys, '/Folded')];
    },
  },
  {
    name: 'layers',
    run: async (sys, other) => {
      for (const dir of ['/top', '/low', '/merged']) await sys.mkdir(dir, 0o755);
      await sys.close(await create(sys, '/low/file'));
      await sys.mknod('/low/hidden', 0o100644);
      await sys.mknod('/top/hidden', 0o020000, 0);
      await sys.mount_overlay('/merged', ['/top', '/low']);
      const seen = await names(other, '/merged');
      const fd = await other.open('/merged/file', 0);
      const flags = (await other.ioctl(fd, FS_IOC_GETFLAGS)).readUInt32LE();
      const read = (await other.read(fd, 10_000)).length;
      await other.close(fd);
      const refused = await said(other.unlink('/merged/file'));
      await sys.umount2('/merged', 0);
      return [seen, flags, read, refused];
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
];
