/** What is held when an operation returns: given up, brought along, kept, taken in between, each by the row's rule and by the guard's identity. */
import t from 'tap';
import { address_space_operations } from '../../src/contract/address-space.js';
import { dentry_operations } from '../../src/contract/dentry.js';
import { dquot_operations } from '../../src/contract/dquot.js';
import { file_operations } from '../../src/contract/file.js';
import { file_system_type } from '../../src/contract/file-system-type.js';
import { inode_operations } from '../../src/contract/inode.js';
import type { LockName } from '../../src/contract/row.js';
import { super_operations } from '../../src/contract/super.js';
import { vm_operations_struct } from '../../src/contract/vm.js';
import { BitLock } from '../../src/locking/bitlock.js';
import { call } from '../../src/locking/context.js';
import type { Held } from '../../src/locking/held.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { Rcu } from '../../src/locking/rcu.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import { might_sleep } from '../../src/sched/wait.js';

const aops = address_space_operations;

function machine(enforce: 'warn' | 'error' = 'warn') {
  const seen: Violation[] = [];
  const validator = new Lockdep(enforce, (violation) => seen.push(violation));
  const task = new Task(new RealScheduler(), validator);
  return {
    task,
    other: new Task(task.sched, validator),
    seen,
    /** What was reported, each as its kind and rule. */
    said: () => seen.map(({ kind, rule }) => `${kind} ${rule}`),
  };
}

function now<L extends LockName, M extends 'read' | 'write'>(got: Held<L, M> | Promise<Held<L, M>>): Held<L, M> {
  if (got instanceof Promise) throw new Error('a free lock was not taken at once');
  return got;
}

t.test('read_folio must give the folio up, itself or through its I/O', (t) => {
  const { task, other, said } = machine();
  const mapping = new RwSem('invalidate_lock');
  const filling = now(mapping.read(task));
  const read = (operation: (held: Held<'folio', 'write'>) => void) => {
    const folio = new BitLock('folio');
    const held = now(folio.lock(task));
    call(task, aops.read_folio, { folio, mapping }, () => operation(held));
    return held;
  };
  read((held) => held.release());
  const handed = read((held) => held.handOver());
  handed.lock.release(handed);
  t.same(said(), [], 'unlocked or left to I/O');
  read(() => undefined).release();
  t.same(said(), ['not-released address_space_operations.read_folio/folio/folio']);
  filling.release();
  t.equal(other.held.length, 0);
  t.end();
});

t.test('read_folio must give it up when it fails, too', (t) => {
  const { task, said } = machine();
  const folio = new BitLock('folio');
  const held = now(folio.lock(task));
  t.throws(
    () =>
      call(task, aops.read_folio, { folio }, () => {
        throw new Error('planted');
      }),
    /planted/,
  );
  t.same(said(), ['not-released address_space_operations.read_folio/folio/folio']);
  held.release();
  t.end();
});

t.test('a lock dropped and another leaked do not make up for each other', (t) => {
  const { task, said } = machine();
  const inode = new RwSem('i_rwsem');
  const stranger = new RwSem('i_rwsem');
  const held = now(inode.write(task));
  call(task, inode_operations.setattr, { inode }, () => {
    held.release();
    now(stranger.write(task));
  });
  t.same(said(), [
    'lock-not-held inode_operations.setattr/i_rwsem/inode',
    'leaked-by-operation inode_operations.setattr#leaves-no-lock',
  ]);
  t.end();
});

t.test("a caller's lock that the row does not mention may not be dropped either", (t) => {
  const { task, said } = machine();
  const lock = new RwSem('s_umount');
  const held = now(lock.write(task));
  call(task, file_operations.fsync, {}, () => held.release());
  t.same(said(), ['lock-not-held file_operations.fsync#keeps-what-its-caller-holds']);
  t.end();
});

t.test('write_begin returns with this folio locked, and no other', (t) => {
  const { task, said } = machine();
  const inode = new RwSem('i_rwsem');
  const held = now(inode.write(task));
  const begin = (taken: BitLock<'folio'> | undefined, told: BitLock<'folio'>) => {
    const got = taken === undefined ? undefined : now(taken.lock(task));
    call(
      task,
      aops.write_begin,
      { inode },
      () => told,
      (folio) => ({ folio }),
    );
    got?.release();
  };
  const [a, b] = [new BitLock('folio'), new BitLock('folio')];
  call(
    task,
    aops.write_begin,
    { inode },
    () => now(a.lock(task)),
    () => ({ folio: a }),
  );
  a.writer?.release();
  t.same(said(), [], 'locked in the operation');
  begin(undefined, a);
  t.same(said(), ['lock-not-held address_space_operations.write_begin/folio/folio'], 'not locked at all');
  const wrong = call(
    task,
    aops.write_begin,
    { inode },
    () => now(b.lock(task)),
    () => ({ folio: a }),
  );
  t.same(said().slice(1), [
    'lock-not-held address_space_operations.write_begin/folio/folio',
    'leaked-by-operation address_space_operations.write_begin#leaves-no-lock',
  ]);
  t.ok(wrong);
  b.writer?.release();
  held.release();
  t.end();
});

t.test('mount returns its superblock locked, kill_sb gives it up', (t) => {
  const { task, said } = machine();
  const sb = new RwSem('s_umount');
  const held = call(task, file_system_type.mount, { sb }, () => sb.write(task));
  t.same(said(), []);
  call(task, file_system_type.kill_sb, { sb }, () => undefined);
  t.same(said(), ['not-released file_system_type.kill_sb/s_umount/sb']);
  call(task, file_system_type.kill_sb, { sb }, () => now(held as Held<'s_umount', 'write'>).release());
  t.equal(said().length, 1);
  call(task, file_system_type.mount, { sb }, () => undefined);
  t.same(said()[1], 'lock-not-held file_system_type.mount/s_umount/sb');
  t.end();
});

t.test('one of several alternatives is enough', (t) => {
  const { task, said } = machine();
  const [onoff, pointers] = [new RwSem('dqonoff_sem'), new RwSem('dqptr_sem')];
  call(task, dquot_operations.write_dquot, { sb: pointers }, () => undefined);
  t.same(said(), ['lock-not-held dquot_operations.write_dquot/dqonoff_sem/sb']);
  for (const lock of [onoff, pointers]) {
    const held = now(lock.read(task));
    call(task, dquot_operations.write_dquot, { sb: lock }, () => undefined);
    held.release();
  }
  t.equal(said().length, 1);
  t.end();
});

t.test('one role with two locks states both', (t) => {
  const { task, said } = machine();
  const [dqio, umount] = [new RwSem('dqio_sem'), new RwSem('s_umount')];
  const held = [now(dqio.write(task)), now(umount.read(task))];
  call(task, super_operations.quota_write, { 'sb.dqio_sem': dqio, 'sb.s_umount': umount }, () => undefined);
  t.same(said(), ['lock-held super_operations.quota_write/s_umount/sb']);
  for (const guard of held) guard.release();
  call(task, super_operations.quota_write, { 'sb.dqio_sem': dqio, 'sb.s_umount': umount }, () => undefined);
  t.same(said()[1], 'lock-not-held super_operations.quota_write/dqio_sem/sb');
  t.end();
});

t.test('what an operation is to take itself, it takes', async (t) => {
  const { task, said } = machine();
  const mapping = new RwSem('invalidate_lock');
  const row = file_operations.fallocate;
  await call(task, row, { mapping }, async () => {
    const held = await mapping.write(task);
    await undefined;
    held.release();
  });
  t.same(said(), []);
  call(task, row, { mapping }, () => now(mapping.read(task)).release());
  t.same(said(), ['lock-not-held file_operations.fallocate/invalidate_lock/mapping'], 'shared is not enough');
  call(task, row, { mapping }, () => now(new RwSem('invalidate_lock').write(task)).release());
  t.equal(said().length, 2, 'nor is another of its kind');
  call(task, row, {}, () => undefined);
  t.equal(said().length, 2, 'a mode that invalidates nothing states no lock');
});

t.test('what is nested does not answer for what is around it', (t) => {
  const { task, said } = machine();
  const [a, b] = [new RwSem('invalidate_lock'), new RwSem('invalidate_lock')];
  call(task, file_operations.fallocate, { mapping: a }, () => {
    call(task, file_operations.fallocate, { mapping: b }, () => now(b.write(task)).release());
  });
  t.same(said(), ['lock-not-held file_operations.fallocate/invalidate_lock/mapping']);
  t.end();
});

t.test('a fault returns with the page locked only where it says so', (t) => {
  const { task, said } = machine();
  const mm = new RwSem('mmap_lock');
  const map = now(mm.read(task));
  const folio = new BitLock('folio');
  const row = vm_operations_struct.fault;
  call(
    task,
    row,
    { mm },
    () => now(folio.lock(task)),
    () => ({ folio }),
  );
  folio.writer?.release();
  t.same(said(), []);
  call(task, row, { mm }, () => map.release());
  t.same(said(), ['lock-not-held vm_operations_struct.fault/mmap_lock/mm']);
  t.end();
});

t.test('writepage keeps the folio only where it answers WRITEPAGE_ACTIVATE', (t) => {
  const { task, said } = machine();
  const folio = new BitLock('folio');
  const write = (unlock: boolean, activate: boolean) => {
    const held = now(folio.lock(task));
    call(
      task,
      aops.writepage,
      { folio },
      () => {
        if (unlock) held.release();
        return activate;
      },
      (activated) => (activated ? { 'folio/activated': folio } : { 'folio/written': folio }),
    );
    if (!held.released) held.release();
  };
  write(true, false);
  write(false, true);
  t.same(said(), []);
  write(false, false);
  t.same(said(), ['not-released address_space_operations.writepage/folio/folio/written']);
  write(true, true);
  t.same(said()[1], 'lock-not-held address_space_operations.writepage/folio/folio/activated');
  call(task, aops.writepage, { folio }, () => undefined);
  t.match(said()[2], /^lock-not-held address_space_operations.writepage/, 'at the call');
  t.end();
});

t.test('an operation that may block by reference may not in rcu-walk', (t) => {
  const { task, seen, said } = machine();
  const rcu = new Rcu();
  const row = dentry_operations.d_revalidate;
  call(task, row, {}, () => might_sleep(task, 'test'));
  t.same(seen, []);
  call(task, row, { walk: rcu }, () => might_sleep(task, 'test'));
  t.match(said(), ['lock-not-held dentry_operations.d_revalidate/rcu/walk', /^sleep-in-atomic/]);
  const section = rcu.read(task);
  call(task, row, { walk: rcu }, () => undefined);
  section.release();
  t.equal(seen.length, 2);
  t.end();
});

t.test('a sleep names the operation that may not block, however deep it is', (t) => {
  const { task, said } = machine();
  const folio = new BitLock('folio');
  const held = now(folio.lock(task));
  call(task, aops.dirty_folio, { folio }, () => {
    call(task, inode_operations.getattr, {}, () => might_sleep(task, 'test'));
    return true;
  });
  held.release();
  t.same(said(), ['sleep-in-atomic address_space_operations.dirty_folio#may-not-block']);
  t.end();
});

t.test('with enforce=error a broken rule fails the call, and the task is none the worse', (t) => {
  const { task } = machine('error');
  const inode = new RwSem('i_rwsem');
  t.throws(() => call(task, inode_operations.setattr, { inode }, () => undefined), { code: 'EIO' });
  t.throws(() => call(task, file_operations.fsync, {}, () => now(inode.write(task))), { code: 'EIO' });
  t.same(task.ops, []);
  t.equal(task.atomic, 0);
  t.end();
});

t.test("a caller's lock that was given up and taken again in between was not held throughout", (t) => {
  const { task, said } = machine();
  const folio = new BitLock('folio');
  const held = now(folio.lock(task));
  let again = held;
  call(task, aops.launder_folio, { folio }, () => {
    held.release();
    again = now(folio.lock(task));
  });
  again.release();
  t.same(said(), ['lock-not-held address_space_operations.launder_folio/folio/folio']);
  t.end();
});
