/** Violations and lock_stat as texts. */
import t from 'tap';
import { address_space_operations } from '../../src/contract/address-space.js';
import { inode_operations } from '../../src/contract/inode.js';
import { super_operations } from '../../src/contract/super.js';
import { call } from '../../src/locking/context.js';
import { class_key } from '../../src/locking/lockdep/class.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { Mutex } from '../../src/locking/mutex.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { clearLockStat, lockStats, lockStatText } from '../../src/report/lock-stat.js';
import { callers, frames, place } from '../../src/report/stack.js';
import { clauseOf, violationText } from '../../src/report/violation-text.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';

function machine() {
  const seen: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => seen.push(violation));
  const sched = new RealScheduler();
  return { validator, seen, task: (comm: string) => new Task(sched, validator, { comm, pid: 12 }) };
}

t.test('a broken rule of a row names the clause, the call and the locks held', (t) => {
  const { seen: all, task } = machine();
  const own = task('mv');
  own.syscall = 'rename';
  const [inode, other] = [new RwSem('i_rwsem'), new RwSem('s_umount', class_key('s_umount', 'rwsem', 'latch'))];
  const held = other.read(own);
  if (held instanceof Promise) throw new Error('not free');
  for (let i = 0; i < 3; i++) call(own, inode_operations.setattr, { inode }, () => undefined);
  held.release();
  const [seen] = all;
  if (seen === undefined) throw new Error('nothing seen');
  t.match(clauseOf(seen), /inode_operations, the row of setattr: i_rwsem\(inode\) "exclusive"/);
  const text = violationText(seen);
  for (const part of [
    /^={58}\nWARNING: a lock is not held that must be\n/,
    /i_rwsem of inode must be held \(write\) at the call/,
    /rule: inode_operations\.setattr\/i_rwsem\/inode\ndocument: inode_operations, the row of setattr/,
    /mv\/12 \(rename\) did it at: .*test\/report\/texts\.test\.[jt]s:\d+:\d+/,
    /1 lock held by mv\/12:\n #0: latch:s_umount \(read\), in no operation, at: .*texts\.test/,
    /stack backtrace:\n +.*texts\.test/,
  ]) {
    t.match(text, part);
  }
  t.end();
});

t.test('a place that is not of this task is told as such', async (t) => {
  const { seen, validator, task } = machine();
  const inode = new RwSem('i_rwsem');
  const lock = new RwSem('s_umount');
  async function one(): Promise<void> {
    using _held = await lock.read(task('mount'));
  }
  async function another(): Promise<void> {
    const own = task('mv');
    using _held = await lock.read(own);
    call(own, inode_operations.setattr, { inode }, () => undefined);
  }
  await one();
  await another();
  validator.stacks = true;
  await another();
  const [cheap, deep] = seen.map(violationText);
  t.match(cheap, /#0: s_umount \(read\), in no operation, at: one \(.*\), the first time\n \(the first time: /);
  t.match(deep, /#0: s_umount \(read\), in no operation, at: another \(.*:\d+\)\n\n/);
  t.notMatch(deep, 'the first time');
});

t.test('a rule of no row names the clause of its operation that speaks of the same lock', async (t) => {
  const { seen: all, task } = machine();
  const own = task('sync');
  const s_umount = new RwSem('s_umount');
  using _held = await s_umount.read(own);
  const twice = async () => (await s_umount.read(own)).release();
  await t.rejects(async () => call(own, super_operations.sync_fs, { sb: s_umount }, twice), { code: 'EDEADLK' });
  const [seen] = all;
  t.match(seen, { rule: 'lock#not-taken-twice' });
  t.match(seen === undefined ? '' : clauseOf(seen), 'super_operations, the row of sync_fs: s_umount "read"');
  t.equal(seen === undefined ? '' : clauseOf({ ...seen, lock: 'i_lock' }), undefined);
  if (seen === undefined) return;
  const filling = { ...seen, rule: 'guarded#pages that are filled', row: 'vm_operations_struct.fault' };
  t.match(clauseOf({ ...filling, lock: 'invalidate_lock' }), /the paragraph on fault: Where the page may go away/);
  t.match(clauseOf({ ...filling, lock: 'mmap_lock' }), /the row of fault: mmap_lock "read"/);
  const rule = 'file_operations.fallocate/invalidate_lock/mapping';
  t.match(clauseOf({ ...seen, rule, lock: 'invalidate_lock' }), /the paragraph on fallocate: From before the cache/);
});

t.test('prose rules are found by their names', (t) => {
  const { validator, seen: all, task } = machine();
  const row = address_space_operations.writepage;
  validator.violation(task('kswapd'), 'folio-state', {
    message: 'planted',
    rule: 'address_space_operations.writepage#never-clean-but-tagged-dirty',
    row,
  });
  const [seen] = all;
  t.match(seen === undefined ? '' : clauseOf(seen), /the paragraph on writepage: Either the page is redirtied/);
  t.end();
});

t.test('lock_stat counts, measures where asked to, and starts anew', async (t) => {
  const { validator, task } = machine();
  const mutex = new Mutex('open_mutex');
  (await mutex.lock(task('one'))).release();
  t.match(lockStats(validator), [{ name: 'open_mutex', acquisitions: 1, hold: { max: 0 } }]);
  validator.holdTimes = true;
  const own = task('one');
  const held = await mutex.lock(own);
  await new Promise((resolve) => own.sched.timer(2, () => resolve(undefined)));
  held.release();
  const [stat] = lockStats(validator);
  t.ok((stat?.hold.max ?? 0) > 1000, 'microseconds');
  const shared = new RwSem('s_umount');
  (await shared.read(own)).release();
  (await shared.write(own)).release();
  const [version, ruler, header = '', , empty, ...rows] = lockStatText(validator).split('\n');
  t.same([version, empty], ['lock_stat version 0.4', '']);
  t.match(ruler, /^-{221}$/);
  t.match(header, /^ {30}class name {4}con-bounces {4}contentions {3}waittime-min .* acq-bounces {3}acquisitions /);
  for (const row of rows.slice(0, -1)) t.equal(row.length, header.length, 'under its column');
  const cells = rows.map((row) => row.trim().split(/[: ]+/));
  t.same(
    cells.map(([name, , , , , , , , acquisitions]) => [name, acquisitions]),
    [
      ['open_mutex', '2'],
      ['s_umount-W', '1'],
      ['s_umount-R', '1'],
      ['', undefined],
    ],
  );
  clearLockStat(validator);
  t.match(lockStats(validator), [{ acquisitions: 0, hold: { max: 0 } }]);
  t.notMatch(lockStatText(validator), /open_mutex/);
});

t.test('stacks lose what all of them have in common', (t) => {
  const stack = [
    'Error: trace',
    '    at trace (/x/src/locking/lockdep/tracker.ts:1:2)',
    '    at async do_unlink (/x/src/fs/namei.ts:10:4)',
    '    at file:///x/src/fuse/session.ts:3:5',
    '    at node:internal/process/task_queues:95:5',
  ].join('\n');
  t.equal(frames(stack).length, 4);
  t.match(
    callers(stack).map(({ name, line }) => [name, line]),
    [
      ['do_unlink', 10],
      ['', 3],
    ],
  );
  t.match(place(stack), /^do_unlink \(.*namei\.ts:10:4\)$/);
  t.equal(place(undefined), 'an unknown place');
  const found = [
    'tell (/x/src/fs/sync-check.ts:78:57)',
    'folio_violation (/x/src/mm/folio-state.ts:30:3)',
    'vfs_fsync (/x/src/fs/sync.ts:49:32)',
  ];
  t.match(
    place(`Error\n${found.map((frame) => `    at ${frame}`).join('\n')}`),
    /^vfs_fsync /,
    'not what has found it',
  );
  t.end();
});
