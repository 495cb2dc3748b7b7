/** Inodes that change hands (fs/quota/dquot.c). */
import { GUARDED, guard_write } from '../../locking/guarded.js';
import { orElse } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import type { Inode } from '../inode.js';
import { dquot_active, dquotsOf, idsOf, initialize } from './charge.js';
import { dqput, dquots_changed, type QuotaLock, release_dquot } from './dquot.js';
import { dquot_add_inodes, dquot_add_space, dquot_decr_inodes, dquot_decr_space } from './limits.js';
import { type Dquot, GRPQUOTA, PRJQUOTA, type QuotaIds, type QuotaType, USRQUOTA } from './types.js';

const NONE: readonly Dquot[] = [];

/**
 * An inode changes hands (dquot_transfer): what it has is charged to the new owner, group and project. Takes dqptr_sem exclusively. The caller sets i_uid, i_gid and
 * i_projid, in the same transaction.
 * @param ids the new ones; undefined or the old one: they stay
 * @throws EDQUOT: nothing is charged then; EIO
 */
export async function dquot_transfer(task: Task, inode: Inode, ids: QuotaIds): Promise<void> {
  if (!dquot_active(inode)) return;
  const { i_sb: sb } = inode;
  await initialize(task, inode);
  const old = idsOf(inode);
  const other = (type: QuotaType): number | undefined => (ids[type] === old[type] ? undefined : ids[type]);
  const to = await dquotsOf(task, sb, [other(USRQUOTA), other(GRPQUOTA), other(PRJQUOTA)]);
  const { dqptr_sem } = sb.s_dquot;
  let release: readonly Dquot[] = to;
  try {
    const ptr = await dqptr_sem.write(task);
    let changed: readonly Dquot[] = [];
    try {
      release = move(task, inode, to);
      changed = [...to, ...release];
    } catch (error) {
      ptr.release();
      throw error;
    }
    // The pointers are right: to write what has changed, shared is enough.
    using _shared = dqptr_sem.downgrade(ptr);
    await dquots_changed(task, sb, changed, dqptr_sem);
    await put_old(task, release, dqptr_sem);
    release = NONE;
  } finally {
    for (const dquot of release) dqput(dquot);
  }
}

/** Who has given away the last that there was of its files leaves the quota file in this transaction; where that fails, a sync comes to it again. */
async function put_old(task: Task, old: readonly Dquot[], by: QuotaLock): Promise<void> {
  for (const dquot of old) {
    dqput(dquot);
    await orElse(
      () => release_dquot(task, dquot, by),
      () => undefined,
    );
  }
}

/** Charge the inode to others (__dquot_transfer). With dqptr_sem held exclusively. @returns those to whom it was charged @throws EDQUOT */
function move(task: Task, inode: Inode, to: readonly Dquot[]): Dquot[] {
  const { dqptr_sem, dq_data_lock } = inode.i_sb.s_dquot;
  using _data = dq_data_lock.lock(task);
  guard_write(task, GUARDED.i_dquot, dqptr_sem);
  guard_write(task, GUARDED.i_dquot, dq_data_lock);
  guard_write(task, GUARDED.dquot, dq_data_lock);
  const reserved = inode.i_sb.dq_op?.get_reserved_space?.(inode) ?? 0;
  const space = inode.i_blocks * 512 - reserved;
  const give = (dquot: Dquot): void => {
    dquot_decr_inodes(dquot, 1);
    dquot_decr_space(dquot, space, reserved);
  };
  const done: Dquot[] = [];
  try {
    for (const dquot of to) {
      dquot_add_inodes(task, dquot, 1);
      try {
        dquot_add_space(task, dquot, space, reserved, {});
      } catch (error) {
        dquot_decr_inodes(dquot, 1);
        throw error;
      }
      done.push(dquot);
    }
  } catch (error) {
    for (const dquot of done) give(dquot);
    throw error;
  }
  const from = (inode.i_dquot ?? []).filter((old) => to.some(({ dq_type }) => dq_type === old.dq_type));
  for (const dquot of from) give(dquot);
  inode.i_dquot = [...(inode.i_dquot ?? []).filter((old) => !from.includes(old)), ...to];
  return from;
}
