/** Scenes of a whole filesystem. */

import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../../fs/drop-caches.js';
import { SB_RDONLY } from '../../../fs/super-block.js';
import { fs_reclaim } from '../../../locking/lock-map.js';
import { shrink_slab } from '../../../mm/vmscan.js';
import { Task } from '../../../sched/task.js';
import { O_DIRECTORY, O_RDWR } from '../../../uapi/fcntl.js';
import { FIFREEZE, FITHAW, FITRIM, FS_IOC_SETFLAGS } from '../../../uapi/ioctl.js';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../../uapi/mman.js';
import { create, names, type Scene } from './scene.js';

/** Bytes of a page. */
const P = 4096;

export const SUPERBLOCK: readonly Scene[] = [
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
      await sys.ioctl(root, FITRIM, Buffer.alloc(24, 0xff).fill(0, 0, 8).fill(0, 16));
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
  {
    name: 'what a freeze keeps out',
    run: async (sys, other, sb) => {
      const root = await sys.open('/', O_DIRECTORY);
      const fd = await create(other, '/f', 2 * P);
      const addr = await other.mmap(0, 2 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      await other.load(addr, 1);
      await other.mkdir('/gone', 0o755);
      await other.fsync(fd);
      await sys.ioctl(root, FIFREEZE);
      const done: string[] = [];
      const changes: readonly (readonly [string, Promise<unknown>])[] = [
        ['store', other.store(addr + 5, Buffer.from('x'))],
        ['write', sys.write(await sys.open('/f', O_RDWR), Buffer.alloc(10, 'w'))],
        ['mkdir', other.mkdir('/d', 0o755)],
        ['rmdir', other.rmdir('/gone')],
        ['rename', other.rename('/f', '/g')],
        ['chmod', other.chmod('/', 0o711)],
        ['setxattr', other.setxattr('/', 'user.a', Buffer.from('a'))],
        ['flags', sys.ioctl(root, FS_IOC_SETFLAGS, Buffer.alloc(4))],
      ];
      const all = changes.map(async ([what, change]) => {
        await change;
        done.push(what);
      });
      for (let i = 0; i < 30; i++) await sb.sched.yield();
      const early = [...done];
      const seen = (await sys.stat('/')).ino;
      await sys.ioctl(root, FITHAW);
      await Promise.all(all);
      await other.munmap(addr, 2 * P);
      return [early, seen, done.sort(), await names(sys, '/')];
    },
  },
  {
    name: 'the flusher',
    run: async (sys, other, sb) => {
      const root = await sys.open('/', O_DIRECTORY);
      const rounds: boolean[] = [];
      const settled = async (): Promise<void> => {
        for (let i = 0; i < 200 && (sb.s_wb.dirty || sb.s_bdi?.writebackRunning === true); i++) await sb.sched.yield();
        rounds.push(sb.s_wb.dirty);
      };
      await sys.close(await create(sys, '/a', 3 * P));
      sb.s_bdi?.wakeFlusher('sync');
      await settled();
      await other.close(await create(other, '/b', 3 * P));
      // It comes while the superblock is locked, and goes again.
      const holder = new Task(sb.sched, sb.machine.validator, { comm: 'holder' });
      const held = await sb.s_umount.write(holder);
      sb.s_bdi?.wakeFlusher('sync');
      for (let i = 0; i < 10; i++) await sb.sched.yield();
      const late = sb.s_wb.dirty;
      held.release();
      // And it leaves the superblock to others.
      await sys.remount('/', SB_RDONLY, '');
      await sys.remount('/', 0, '');
      await sys.close(root);
      return [rounds, late, (await sys.stat('/a')).size];
    },
  },
  {
    name: 'reclaim while the superblock is locked',
    run: async (sys, _other, sb) => {
      for (let i = 0; i < 6; i++) await sys.mknod(`/n${i}`, 0o100644);
      const reclaim = new Task(sb.sched, sb.machine.validator, { comm: 'kswapd' });
      const holder = new Task(sb.sched, sb.machine.validator, { comm: 'holder' });
      const shrink = async (): Promise<void> => {
        const inside = fs_reclaim.enter(reclaim);
        await shrink_slab(reclaim, sb.machine.memory, 0);
        inside.release();
      };
      const before = sb.s_dentry_lru.count;
      const held = await sb.s_umount.write(holder);
      await shrink();
      const kept = sb.s_dentry_lru.count === before;
      held.release();
      for (let i = 0; i < 3; i++) await shrink();
      return [before > 5, kept, sb.s_dentry_lru.count < before];
    },
  },
];
