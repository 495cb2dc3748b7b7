/**
 * What operations may do because their callers do not hold certain locks: filesystems that do all of it. They take each of these locks, and sleep, which is
 * what the rows leave to them; a caller who holds one after all is found out by the lock, not by the row.
 */

import { d_path } from '../../../fs/d-path.js';
import { Dentry } from '../../../fs/dentry.js';
import { DROP_SLAB, drop_caches } from '../../../fs/drop-caches.js';
import { iput } from '../../../fs/icache.js';
import type { Inode } from '../../../fs/inode.js';
import { OffsetCtx, simple_offset_dir_operations } from '../../../fs/libfs.js';
import type { file_lock_operations, lock_manager_operations } from '../../../fs/locks/file-lock-operations.js';
import { generic_setlease, lease_manager_ops } from '../../../fs/locks/leases.js';
import { blockedOf, locks_get_lock_context } from '../../../fs/locks/lock-list.js';
import { posix_lock_file } from '../../../fs/locks/posix-locks.js';
import { LOOKUP_RCU } from '../../../fs/namei/lookup.js';
import { MAY_EXEC } from '../../../fs/namei/permission.js';
import type { dentry_operations, inode_operations } from '../../../fs/operations.js';
import { umount_begin } from '../../../fs/super.js';
import type { SuperBlock } from '../../../fs/super-block.js';
import { S_ATIME } from '../../../fs/time.js';
import { GUARDED, guard_read } from '../../../locking/guarded.js';
import type { RwSem } from '../../../locking/rwsem.js';
import type { Awaitable } from '../../../sched/awaitable.js';
import { Task } from '../../../sched/task.js';
import { might_sleep, WaitQueue, wait_event } from '../../../sched/wait.js';
import { O_DIRECTORY, O_NONBLOCK, O_RDWR, O_TMPFILE } from '../../../uapi/fcntl.js';
import { FS_IOC_FIEMAP, FS_IOC_GETFLAGS } from '../../../uapi/ioctl.js';
import { create, names, type Scene, said } from './scene.js';

function newTask(sb: SuperBlock): Task {
  return new Task(sb.sched, sb.machine.validator, { comm: 'liberties' });
}

function inodeAt(sb: SuperBlock, ino: number): Inode {
  const inode = sb.inodeHash.get(ino);
  if (inode === undefined) throw new Error(`inode ${ino} is not in memory`);
  return inode;
}

/** An operation that first takes a lock alone, and gives it back. */
function freely<A extends readonly unknown[], R>(
  lock: RwSem<'i_rwsem'> | RwSem<'s_umount'>,
  op: (task: Task, ...rest: A) => Awaitable<R>,
): (task: Task, ...rest: A) => Promise<R> {
  return async (task, ...rest) => {
    (await lock.write(task)).release();
    return await op(task, ...rest);
  };
}

/** As `freely` where an operation answers at once. @returns whether the lock was free */
function isFree(lock: RwSem<'i_rwsem'> | RwSem<'s_umount'>, task: Task): boolean {
  const held = lock.tryWrite(task);
  held?.release();
  return held !== undefined;
}

/** Dentries whose operations take d_lock and rename_lock, and sleep, wherever their rows let them. */
function eagerDentries(sb: SuperBlock): dentry_operations {
  const { rename_lock, rcu } = sb;
  // Names in capitals are looked for by walks under RCU only.
  const inWalk = (task: Task, name: string): void => {
    if (/^[A-Z]+$/.test(name)) guard_read(task, GUARDED.under_rcu, rcu);
  };
  const allocates = (task: Task): void => might_sleep(task, 'memory');
  return {
    d_hash: (task, dentry, name) => {
      inWalk(task, name);
      dentry.d_lock.lock(task).release();
      rename_lock.read(task, () => guard_read(task, GUARDED.d_name, rename_lock));
      return name.toLowerCase();
    },
    d_compare: (task, dentry, candidate, name) => {
      guard_read(task, GUARDED.d_name, rename_lock);
      inWalk(task, name);
      dentry.d_lock.lock(task).release();
      return candidate.toLowerCase() === name.toLowerCase();
    },
    d_revalidate: (task, _dentry, flags) => {
      if ((flags & LOOKUP_RCU) !== 0) guard_read(task, GUARDED.under_rcu, rcu);
      else allocates(task);
      return true;
    },
    d_weak_revalidate: (task) => {
      allocates(task);
      return true;
    },
    d_init: allocates,
    d_release: allocates,
    d_iput: (task, _dentry, inode) => {
      allocates(task);
      return iput(task, inode);
    },
    d_dname: (task, dentry) => {
      dentry.d_lock.lock(task).release();
      return rename_lock.read(task, () => `nameless:[${dentry.d_name}]`);
    },
  };
}

/** Give an inode operations that take its i_rwsem wherever their rows let them. */
function liberate(inode: Inode): void {
  const { i_op: op, i_rwsem: lock } = inode;
  const fresh: inode_operations = { ...op };
  const asking = ['getattr', 'listxattr', 'get_acl', 'get_link', 'tmpfile', 'fileattr_get'] as const;
  for (const name of asking) {
    const method = op[name] as ((task: Task, ...rest: readonly unknown[]) => Awaitable<unknown>) | undefined;
    if (method !== undefined) Reflect.set(fresh, name, freely(lock, method));
  }
  const { fiemap, update_time, get_inode_acl, permission = () => undefined } = op;
  if (fiemap !== undefined) fresh.fiemap = freely(lock, fiemap);
  if (get_inode_acl !== undefined) fresh.get_inode_acl = freely(lock, get_inode_acl);
  if (update_time !== undefined) {
    const reading = freely(lock, update_time);
    fresh.update_time = (task, node, now, flags) =>
      flags === S_ATIME ? reading(task, node, now, flags) : update_time(task, node, now, flags);
  }
  const walking = freely(lock, permission);
  fresh.permission = (task, node, mask) => (mask === MAY_EXEC ? walking : permission)(task, node, mask);
  inode.i_op = fresh;
}

/** Callbacks of file locks that take flc_lock and blocked_lock_lock wherever their rows let them. */
function eagerLocks(inode: Inode): { fl_ops: file_lock_operations; fl_lmops: lock_manager_operations } {
  const { flc_lock } = locks_get_lock_context(inode);
  const { blocked_lock_lock } = blockedOf(inode.i_sb);
  const waiters = (task: Task): boolean => {
    blocked_lock_lock.lock(task).release();
    return false;
  };
  return {
    fl_ops: {
      fl_release_private: (task, lock) => {
        if (lock.kind !== 'lease') flc_lock.lock(task).release();
      },
    },
    fl_lmops: {
      lm_break: waiters,
      lm_breaker_owns_lease: waiters,
      lm_lock_expirable: waiters,
      lm_expire_lock: (task) => {
        flc_lock.lock(task).release();
        waiters(task);
      },
      lm_change: (task, lease, type) => {
        waiters(task);
        lease_manager_ops.lm_change?.(task, lease, type);
      },
    },
  };
}

export const LIBERTIES: readonly Scene[] = [
  {
    name: 'liberties of dentries',
    lends: true,
    run: async (sys, _other, sb) => {
      const { s_root: root } = sb;
      if (root === undefined) return 'not mounted';
      sb.s_d_op = eagerDentries(sb);
      root.d_op = sb.s_d_op;
      await sys.mkdir('/dir', 0o755);
      await sys.close(await create(sys, '/dir/name'));
      const same = (await sys.stat('/DIR/NAME')).ino === (await sys.stat('/dir/name')).ino;
      await sys.chdir('/dir');
      const above = (await sys.stat('..')).ino;
      await sys.chdir('/');
      const nameless = d_path(newTask(sb), new Dentry(sb, '', undefined, sb.s_d_op), root);
      await sys.unlink('/dir/name');
      await sys.rmdir('/dir');
      await drop_caches(newTask(sb), sb, DROP_SLAB);
      return [same, above, nameless, await names(sys, '/')];
    },
  },
  {
    name: 'liberties of inodes',
    lends: true,
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/f');
      await sys.setxattr('/f', 'user.a', Buffer.from('a'));
      await sys.symlink('f', '/l');
      await sys.mkdir('/d', 0o755);
      await sys.close(await create(sys, '/d/in'));
      const of = async (path: string): Promise<Inode> => inodeAt(sb, (await sys.lstat(path)).ino);
      const [file, link, dir, root] = [await of('/f'), await of('/l'), await of('/d'), await of('/')];
      for (const inode of [file, link, dir, root]) liberate(inode);
      // Its list is told by get_inode_acl.
      delete dir.i_op.get_acl;
      dir.i_acl = undefined;
      link.i_op.readlink = freely(link.i_rwsem, () => 'f');
      // Their atimes are to move, and the list is to be asked for.
      for (const inode of [file, link]) inode.i_atime = { sec: 0, nsec: 0 };
      file.i_acl = undefined;
      sb.s_xattr = sb.s_xattr.map((handler) => ({
        ...handler,
        ...(handler.get === undefined ? {} : { get: freely(file.i_rwsem, handler.get) }),
        list: (task) => isFree(file.i_rwsem, task),
      }));
      const seen = [(await sys.stat('/f')).size, (await other.stat('/l')).size, await sys.readlink('/l')];
      const attributes = [await sys.listxattr('/f'), String(await sys.getxattr('/f', 'user.a'))];
      const lists = await Promise.all(['/f', '/d'].map((of) => said(sys.getxattr(of, 'system.posix_acl_access'))));
      const map = Buffer.alloc(32);
      map.writeBigUInt64LE(1n << 40n, 8);
      const extents = (await sys.ioctl(fd, FS_IOC_FIEMAP, map)).readUInt32LE(20);
      const flags = (await sys.ioctl(fd, FS_IOC_GETFLAGS, Buffer.alloc(4))).readInt32LE();
      await sys.pread(fd, 10, 0);
      await sys.close(await sys.open('/d', O_TMPFILE | O_RDWR, 0o600));
      await drop_caches(newTask(sb), sb, DROP_SLAB);
      return [seen, attributes, lists, extents, flags, (await sys.stat('/d/in')).size];
    },
  },
  {
    name: 'liberties of directories and superblocks',
    lends: true,
    run: async (sys, _other, sb) => {
      await sys.mkdir('/d', 0o755);
      const dir = inodeAt(sb, (await sys.stat('/d')).ino);
      const offsets = new OffsetCtx();
      const found: boolean[] = [];
      dir.i_op = {
        ...dir.i_op,
        get_offset_ctx: (task, inode) => {
          found.push(isFree(inode.i_rwsem, task));
          return offsets;
        },
      };
      dir.i_fop = simple_offset_dir_operations;
      const fd = await sys.open('/d', O_DIRECTORY);
      await sys.lseek(fd, 0, 0);
      await sys.close(fd);
      const { statfs, show_options } = sb.s_op;
      sb.s_op = {
        ...sb.s_op,
        ...(statfs === undefined ? {} : { statfs: freely(sb.s_umount, statfs) }),
        show_options: (task, root) => {
          found.push(isFree(sb.s_umount, task));
          return show_options?.(task, root) ?? '';
        },
        umount_begin: freely(sb.s_umount, () => undefined),
      };
      const { f_blocks: blocks } = await sys.statfs('/');
      await sys.show_mounts();
      await umount_begin(newTask(sb), sb);
      return [found, blocks > 0];
    },
  },
  {
    name: 'liberties of locks',
    lends: true,
    run: async (sys, other, sb) => {
      await sys.close(await create(sys, '/l'));
      const inode = inodeAt(sb, (await sys.stat('/l')).ino);
      const eager = eagerLocks(inode);
      const { blocked_lock_lock } = blockedOf(sb);
      const { flc_lock } = locks_get_lock_context(inode);
      const { lock: latched } = inode.i_fop;
      const answered = new WaitQueue();
      let granted = 0;
      const lm_grant = (task: Task): void => {
        flc_lock.lock(task).release();
        blocked_lock_lock.lock(task).release();
        granted++;
        answered.wake_all();
      };
      let told = 0;
      const lm_notify = (task: Task): void => {
        if (guard_read(task, GUARDED.blocked_locks, blocked_lock_lock)) told++;
      };
      inode.i_fop = {
        ...inode.i_fop,
        setlease: (task, file, _arg, lease) => generic_setlease(task, file, { ...lease, ...eager }),
        lock: (task, file, cmd, lock) => {
          if (lock.type === 'F_RDLCK') return latched?.(task, file, cmd, { ...lock, fl_lmops: { lm_grant } });
          const fl_lmops = lock.wait ? { lm_notify } : eager.fl_lmops;
          return posix_lock_file(task, file, { ...lock, fl_ops: eager.fl_ops, fl_lmops });
        },
      };
      const [a, b] = [await sys.open('/l', O_RDWR), await other.open('/l', O_RDWR)];
      await sys.fcntl_lock(a, { l_type: 'F_WRLCK', l_start: 0, l_len: 100 });
      const refused = await said(other.fcntl_lock(b, { l_type: 'F_WRLCK', l_start: 0, l_len: 5 }));
      await said(other.fcntl_lock(b, { l_type: 'F_WRLCK', l_start: 0, l_len: 5 }, true));
      await said(other.fcntl_lock(b, { l_type: 'F_RDLCK', l_start: 20, l_len: 5 }, true));
      await sys.fcntl_lock(a, { l_type: 'F_UNLCK', l_start: 0, l_len: 100 });
      await wait_event(newTask(sb), answered, () => granted > 0);
      await sys.close(a);
      await other.close(b);
      const reader = await sys.open('/l', 0);
      await sys.fcntl_lease(reader, 'F_RDLCK');
      const broken = await said(other.open('/l', O_RDWR | O_NONBLOCK));
      await sys.fcntl_lease(reader, 'F_UNLCK');
      return [refused, told, granted, broken];
    },
  },
];
