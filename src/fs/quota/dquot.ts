/** The quotas in memory: finding them, reading them, putting them into their file, letting them go (fs/quota/dquot.c). */
import { dquot_operations as rows } from '../../contract/dquot.js';
import { call, type LockRef } from '../../locking/context.js';
import { GUARDED, guard_read } from '../../locking/guarded.js';
import { type Awaitable, allInTurn, andThen, orElse } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import { Task } from '../../sched/task.js';
import type { SuperBlock } from '../super-block.js';
import { SB_FREEZE_COMPLETE } from '../super-writers.js';
import { check_wraps } from './dquot-check.js';
import {
  DQ_ACTIVE,
  DQ_MOD,
  DQ_READ,
  Dquot,
  type dquot_operations,
  type LoadedQuota,
  type QuotaType,
  sb_has_quota_active,
} from './types.js';

/** The lock by which a caller keeps quotas from being switched off. */
export type QuotaLock = LockRef<'dqonoff_sem' | 'dqptr_sem'>;

/** Milliseconds after which a quota that nobody refers to is released. */
const RELEASE_DELAY = 1000;

/** @throws ESRCH where quotas of that type are off */
export function loadedQuota(sb: SuperBlock, type: QuotaType): LoadedQuota {
  const loaded = sb.s_dquot.loaded[type];
  if (loaded === undefined) throw errno('ESRCH', 'quotas are off');
  return loaded;
}

function operations(sb: SuperBlock): dquot_operations {
  if (sb.dq_op === undefined) throw errno('ENOSYS', 'the filesystem has no quotas');
  return sb.dq_op;
}

/** Quotas of the type are not switched off while one of them is read or written: checked where that is done. */
function assert_quota_on(task: Task, sb: SuperBlock): void {
  const { dqonoff_sem, dqptr_sem } = sb.s_dquot;
  guard_read(task, GUARDED.dquot_on, dqptr_sem, dqonoff_sem);
}

/**
 * The quota of an id, with a reference, read if need be (dqget).
 * @param by the lock that the caller holds, shared or exclusive
 * @throws ESRCH where quotas of that type are off; EIO
 */
export function dqget(task: Task, sb: SuperBlock, type: QuotaType, id: number, by: QuotaLock): Awaitable<Dquot> {
  if (!sb_has_quota_active(sb, type)) throw errno('ESRCH', 'quotas are off');
  const { dquots, releasing } = sb.s_dquot;
  const known = dquots[type]?.get(id);
  const dquot = known ?? new Dquot(sb, type, id);
  if (known === undefined) dquots[type]?.set(id, dquot);
  dquot.dq_count++;
  releasing.delete(dquot);
  if ((dquot.dq_flags & DQ_ACTIVE) !== 0 && !dquot.dq_lock.isHeld) return dquot;
  return orElse(
    () => activate(task, dquot, by),
    (error) => {
      dqput(dquot);
      throw error;
    },
  );
}

/** Wait until nobody reads or releases it (wait_on_dquot), and have it read unless it is. */
async function activate(task: Task, dquot: Dquot, by: QuotaLock): Promise<Dquot> {
  (await dquot.dq_lock.lock(task)).release();
  if ((dquot.dq_flags & DQ_ACTIVE) !== 0) return dquot;
  const op = operations(dquot.dq_sb);
  await call(task, rows.acquire_dquot, { sb: by }, () => op.acquire_dquot(task, dquot));
  check_wraps(task, rows.acquire_dquot, (dquot.dq_flags & DQ_ACTIVE) === 0, op.acquire_dquot);
  return dquot;
}

/** Give a reference back (dqput). After the last one it is released some time later: that may wait, and this may not. */
export function dqput(dquot: Dquot): void {
  if (--dquot.dq_count > 0) return;
  const { dq_sb: sb } = dquot;
  const { s_dquot: info } = sb;
  info.releasing.add(dquot);
  releaseLater(sb);
}

function releaseLater(sb: SuperBlock): void {
  const { s_dquot: info } = sb;
  if (info.releasing.size === 0) return;
  info.releaseTimer ??= sb.sched.timer(RELEASE_DELAY, () => release_work(sb), { background: true });
}

/** The timer's work (quota_release_workfn). A failure is not lost: the quota stays, and a sync comes to it again. */
function release_work(sb: SuperBlock): void {
  const { s_dquot: info } = sb;
  info.releaseTimer = undefined;
  const task = new Task(sb.sched, sb.machine.validator, { comm: 'quota-release' });
  const run = sb.sched.run(async () => {
    // Not while it is frozen, or about to be: this changes the quota file. Who unmounts does it himself.
    using umount = sb.s_umount.tryRead(task);
    if (umount === undefined || sb.s_writers.frozen === SB_FREEZE_COMPLETE) {
      releaseLater(sb);
      return;
    }
    using _on = await info.dqonoff_sem.read(task);
    await release_dquots(task, sb);
  });
  if (run instanceof Promise) run.catch(() => undefined);
}

/** Release the quotas that nobody refers to. With dqonoff_sem held. @throws EIO EROFS: the first failure, the rest is released all the same */
export function release_dquots(task: Task, sb: SuperBlock): Promise<void> {
  const { releasing, dqonoff_sem } = sb.s_dquot;
  return forEachDquot(task, [...releasing], (dquot) => release_dquot(task, dquot, dqonoff_sem));
}

/** Do something with each of many quotas, also after one that fails, and let others have their turn in between. @throws the first failure, when all are done */
export function forEachDquot(
  task: Task,
  dquots: Iterable<Dquot>,
  body: (dquot: Dquot) => Promise<void>,
): Promise<void> {
  function* steps(): Generator<() => Promise<void>> {
    for (const dquot of dquots) {
      yield () => body(dquot);
      yield () => task.sched.yield();
    }
  }
  return allInTurn(steps());
}

/** Release a quota, unless somebody refers to it (again). @param by the lock that the caller holds @throws EIO EROFS */
export async function release_dquot(task: Task, dquot: Dquot, by: QuotaLock): Promise<void> {
  const { dq_sb: sb } = dquot;
  if (dquot.dq_count > 0) {
    sb.s_dquot.releasing.delete(dquot);
    return;
  }
  if ((dquot.dq_flags & DQ_MOD) !== 0) await write_dquot(task, dquot, by);
  if ((dquot.dq_flags & DQ_ACTIVE) !== 0) {
    const op = operations(sb);
    const { generic } = dquot;
    await call(task, rows.release_dquot, { sb: by }, () => op.release_dquot(task, dquot));
    check_wraps(task, rows.release_dquot, dquot.generic === generic, op.release_dquot);
  } else forget(dquot);
}

function forget(dquot: Dquot): void {
  const { dquots, releasing, dirty } = dquot.dq_sb.s_dquot;
  if (dquot.dq_count > 0) return;
  releasing.delete(dquot);
  dirty.delete(dquot);
  const own = dquots[dquot.dq_type];
  if (own?.get(dquot.dq_id) === dquot) own.delete(dquot.dq_id);
}

/** Have the filesystem put a quota into its file. @param by the lock that the caller holds */
export function write_dquot(task: Task, dquot: Dquot, by: QuotaLock): Awaitable<void> {
  const op = operations(dquot.dq_sb);
  const { generic, dq_flags } = dquot;
  return andThen(
    call(task, rows.write_dquot, { sb: by }, () => op.write_dquot(task, dquot)),
    () => {
      const left = (dq_flags & dquot.dq_flags & DQ_MOD) !== 0 && dquot.generic === generic;
      check_wraps(task, rows.write_dquot, left, op.write_dquot);
    },
  );
}

/** Tell the filesystem that the numbers of a quota have changed (mark_dquot_dirty). */
export function mark_dquot_dirty(task: Task, dquot: Dquot): Awaitable<void> {
  const op = operations(dquot.dq_sb);
  const { generic } = dquot;
  return andThen(
    call(task, rows.mark_dirty, {}, () => op.mark_dirty(task, dquot)),
    () =>
      check_wraps(task, rows.mark_dirty, (dquot.dq_flags & DQ_MOD) === 0 && dquot.generic === generic, op.mark_dirty),
  );
}

/**
 * Numbers of quotas have changed: mark them, and where usage is a part of transactions write them. What cannot be written stays dirty for a sync, as in the kernel: what
 * they are charged for has happened.
 * @param by the lock that the caller holds
 */
export function dquots_changed(task: Task, sb: SuperBlock, changed: readonly Dquot[], by: QuotaLock): Awaitable<void> {
  const each = (at: number): Awaitable<void> => {
    const dquot = changed[at];
    if (dquot === undefined) return undefined;
    return andThen(mark_dquot_dirty(task, dquot), () => {
      if (sb.dq_op?.journaled !== true) return each(at + 1);
      const written = orElse(
        () => write_dquot(task, dquot, by),
        () => undefined,
      );
      return andThen(written, () => each(at + 1));
    });
  };
  return each(0);
}

/** The generic mark_dirty (dquot_mark_dquot_dirty). */
export function dquot_mark_dquot_dirty(_task: Task, dquot: Dquot): void {
  dquot.generic++;
  dquot.dq_flags |= DQ_MOD;
  dquot.dq_sb.s_dquot.dirty.add(dquot);
}

function clear_dquot_dirty(dquot: Dquot): boolean {
  const was = (dquot.dq_flags & DQ_MOD) !== 0;
  dquot.dq_flags &= ~DQ_MOD;
  dquot.dq_sb.s_dquot.dirty.delete(dquot);
  return was;
}

/** The info follows, where the tree has changed it. */
async function writeInfoIfDirty(task: Task, sb: SuperBlock, type: QuotaType): Promise<void> {
  const { format, info } = loadedQuota(sb, type);
  if (info.dirty) await format.write_file_info(task, sb, type, info);
}

/** The generic acquire_dquot (dquot_acquire): read it, and where it has no place in the file make one. Takes dq_lock, dqio_sem. @throws EIO */
export async function dquot_acquire(task: Task, dquot: Dquot): Promise<void> {
  const { dq_sb: sb, dq_type: type } = dquot;
  dquot.generic++;
  assert_quota_on(task, sb);
  using _lock = await dquot.dq_lock.lock(task);
  const { format, info } = loadedQuota(sb, type);
  if ((dquot.dq_flags & DQ_READ) === 0) {
    await format.read_dqblk(task, dquot, info);
    dquot.dq_flags |= DQ_READ;
  }
  if (dquot.dq_off === 0) {
    await format.commit_dqblk(task, dquot, info);
    await writeInfoIfDirty(task, sb, type);
  }
  dquot.dq_flags |= DQ_ACTIVE;
}

/** The generic write_dquot (dquot_commit). Takes dq_lock, dqio_sem. @throws EIO: it stays dirty */
export async function dquot_commit(task: Task, dquot: Dquot): Promise<void> {
  const { dq_sb: sb, dq_type: type } = dquot;
  dquot.generic++;
  assert_quota_on(task, sb);
  using _lock = await dquot.dq_lock.lock(task);
  if (!clear_dquot_dirty(dquot)) return;
  // One that was never read is not to be written.
  if ((dquot.dq_flags & DQ_ACTIVE) === 0) throw errno('EIO', `the quota of id ${dquot.dq_id} is not in use`);
  const { format, info } = loadedQuota(sb, type);
  try {
    await format.commit_dqblk(task, dquot, info);
    await writeInfoIfDirty(task, sb, type);
  } catch (error) {
    dquot_mark_dquot_dirty(task, dquot);
    throw error;
  }
}

/** The generic release_dquot (dquot_release): one that says nothing leaves the file. Takes dq_lock, dqio_sem. @throws EIO: it is out of use all the same */
export async function dquot_release(task: Task, dquot: Dquot): Promise<void> {
  const { dq_sb: sb, dq_type: type } = dquot;
  dquot.generic++;
  assert_quota_on(task, sb);
  using _lock = await dquot.dq_lock.lock(task);
  // Somebody wants it again.
  if (dquot.dq_count > 0 || (dquot.dq_flags & DQ_MOD) !== 0) return;
  const { format, info } = loadedQuota(sb, type);
  try {
    await format.release_dqblk(task, dquot, info);
    await writeInfoIfDirty(task, sb, type);
  } finally {
    dquot.dq_flags &= ~(DQ_ACTIVE | DQ_READ);
    forget(dquot);
  }
}

/** The generic write_info (dquot_commit_info). Takes dqio_sem. @throws EIO */
export async function dquot_commit_info(task: Task, sb: SuperBlock, type: QuotaType): Promise<void> {
  guard_read(task, GUARDED.dquot_on, sb.s_dquot.dqonoff_sem);
  sb.s_dquot.generic++;
  const { format, info } = loadedQuota(sb, type);
  await format.write_file_info(task, sb, type, info);
}
