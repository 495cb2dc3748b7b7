/** Scenes of locks on files and of leases. */

import type { file_lock_operations, lock_manager_operations } from '../../../fs/locks/file-lock-operations.js';
import { generic_setlease, lease_manager_ops } from '../../../fs/locks/leases.js';
import { locks_get_lock_context } from '../../../fs/locks/lock-list.js';
import { LockManager } from '../../../fs/locks/lock-manager.js';
import { posix_lock_file } from '../../../fs/locks/posix-locks.js';
import { GUARDED, guard_read } from '../../../locking/guarded.js';
import { Task } from '../../../sched/task.js';
import { WaitQueue, wait_event } from '../../../sched/wait.js';
import { LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, O_NONBLOCK, O_RDWR } from '../../../uapi/fcntl.js';
import { create, type Scene, said } from './scene.js';

export const LOCKS: readonly Scene[] = [
  {
    name: 'locks',
    run: async (sys, other) => {
      const fd = await create(sys, '/l');
      const second = await other.open('/l', O_RDWR);
      await sys.fcntl_lock(fd, { l_type: 'F_WRLCK', l_start: 0, l_len: 10 });
      const seen = (await other.fcntl_testlock(second, { l_type: 'F_RDLCK' })).l_type;
      await sys.fcntl_lock(fd, { l_type: 'F_UNLCK', l_start: 4, l_len: 2 });
      await sys.fcntl_lock(fd, { l_type: 'F_WRLCK', l_start: 4, l_len: 2 });
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
      return [seen, refused, busy, breaks];
    },
  },
  {
    name: 'those who wait for locks',
    run: async (sys, other) => {
      const fd = await create(sys, '/l');
      const [second, third] = [await other.open('/l', O_RDWR), await other.open('/l', O_RDWR)];
      const done: string[] = [];
      const noted = async (what: string, call: Promise<unknown>): Promise<void> => {
        await call;
        done.push(what);
      };
      await sys.flock(fd, LOCK_EX);
      const waiting = [
        noted('shared', other.flock(second, LOCK_SH)),
        noted('also shared', other.flock(third, LOCK_SH)),
      ];
      await sys.flock(fd, LOCK_SH);
      await Promise.all(waiting);
      const alone = noted('alone', sys.flock(fd, LOCK_EX));
      await other.flock(second, LOCK_UN);
      await other.close(third);
      await alone;
      await sys.flock(fd, LOCK_UN);
      await sys.close(fd);
      await other.close(second);
      const holder = await sys.open('/l', 0);
      await sys.fcntl_lease(holder, 'F_RDLCK');
      const writer = noted('writer', other.open('/l', O_RDWR));
      const breaking = await sys.fcntl_testlease(holder);
      await sys.fcntl_lease(holder, 'F_UNLCK');
      await writer;
      return [done.sort(), breaking];
    },
  },
  {
    name: 'clients far away',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/r');
      const { ino } = await sys.stat('/r');
      await sys.close(fd);
      const task = new Task(sb.sched, sb.machine.validator, { comm: 'nfsd' });
      const told: string[] = [];
      const calls = new WaitQueue();
      const tell = (what: string) => (): void => {
        told.push(what);
        calls.wake_all();
      };
      const heard = (count: number): Promise<void> => wait_event(task, calls, () => told.length >= count);
      const manager = new LockManager(sb, { lease: 60_000 });
      const [near, far] = ['near', 'far'].map((name) =>
        manager.connect({
          granted: tell(`${name} has it`),
          notify: tell(`${name} may ask`),
          recall: tell(`${name} gives back`),
        }),
      );
      if (near === undefined || far === undefined) return 'no client';
      const [ours, theirs] = [await near.open(task, ino, O_RDWR), await far.open(task, ino, O_RDWR)];
      const whole = { type: 'F_WRLCK', start: 0, length: 0 } as const;
      const outcomes = [await near.lock(task, ours, whole)];
      // The other one is told when it may ask again, or when it has the lock.
      for (const wish of ['notify', 'grant'] as const) {
        outcomes.push(await far.lock(task, theirs, whole, wish));
        await near.lock(task, ours, { ...whole, type: 'F_UNLCK' });
        await heard(outcomes.length - 1);
        if (wish === 'notify') await near.lock(task, ours, whole);
      }
      await far.close(task, theirs);
      await near.close(task, ours);
      await near.delegate(task, await near.open(task, ino, 0), 'F_RDLCK');
      // What it does itself does not break it.
      await near.close(task, await near.open(task, ino, O_RDWR | O_NONBLOCK));
      const broken = await said(other.open('/r', O_RDWR | O_NONBLOCK));
      await heard(3);
      await near.destroy(task);
      // A client that is not heard of loses its lock to whoever wants it.
      const brief = new LockManager(sb, { lease: 0 });
      const silent = brief.connect();
      await silent.lock(task, await silent.open(task, ino, O_RDWR), whole);
      const mine = await other.open('/r', O_RDWR);
      await other.fcntl_lock(mine, { l_type: 'F_WRLCK' });
      await manager.stop(task);
      return [outcomes, told, broken];
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
          return await posix_lock_file(task, file, { ...lock, fl_ops, fl_lmops: own });
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
];
