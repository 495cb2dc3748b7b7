/** Switching quotas on and off, and bringing them to their files (fs/quota/dquot.c). */
import { dquot_operations as rows } from '../../contract/dquot.js';
import { call } from '../../locking/context.js';
import { GUARDED, guard_write } from '../../locking/guarded.js';
import { allInTurn } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { Inode } from '../inode.js';
import type { SuperBlock } from '../super-block.js';
import { SB_FREEZE_COMPLETE } from '../super-writers.js';
import { dqput, forEachDquot, release_dquots, write_dquot } from './dquot.js';
import { check_wraps } from './dquot-check.js';
import {
  DQUOT_LIMITS_ENABLED,
  DQUOT_USAGE_ENABLED,
  type Dquot,
  QUOTA_TYPES,
  type QuotaType,
  type quota_format_ops,
  sb_has_quota_active,
} from './types.js';

/**
 * Begin to count usage (dquot_load_quota_sb); limits are not enforced yet. With s_umount held exclusively; takes dqonoff_sem exclusively.
 * @throws EBUSY where it is counted already; EINVAL where the file is of another format; EIO
 */
export async function dquot_load_quota_sb(
  task: Task,
  sb: SuperBlock,
  type: QuotaType,
  format: quota_format_ops,
): Promise<void> {
  const { s_dquot: quota } = sb;
  using _on = await quota.dqonoff_sem.write(task);
  if (sb_has_quota_active(sb, type)) throw errno('EBUSY');
  const info = await format.read_file_info(task, sb, type);
  quota.loaded[type] = { format, info, flags: DQUOT_USAGE_ENABLED };
}

/**
 * Enforce limits (dquot_quota_enable). With s_umount held exclusively; takes dqonoff_sem exclusively.
 * @throws EINVAL where usage is not counted; EEXIST where they are enforced
 */
export async function dquot_quota_enable(task: Task, sb: SuperBlock, type: QuotaType): Promise<void> {
  using _on = await sb.s_dquot.dqonoff_sem.write(task);
  const loaded = sb.s_dquot.loaded[type];
  if (loaded === undefined) throw errno('EINVAL', 'usage is not counted');
  if ((loaded.flags & DQUOT_LIMITS_ENABLED) !== 0) throw errno('EEXIST');
  loaded.flags |= DQUOT_LIMITS_ENABLED;
}

/** Do not enforce limits; usage goes on being counted (dquot_quota_disable). Locks as dquot_quota_enable. @throws EEXIST where they are not */
export async function dquot_quota_disable(task: Task, sb: SuperBlock, type: QuotaType): Promise<void> {
  using _on = await sb.s_dquot.dqonoff_sem.write(task);
  const loaded = sb.s_dquot.loaded[type];
  if (loaded === undefined || (loaded.flags & DQUOT_LIMITS_ENABLED) === 0) throw errno('EEXIST');
  loaded.flags &= ~DQUOT_LIMITS_ENABLED;
}

/** No more quotas (dquot_disable with DQUOT_USAGE_ENABLED), all types. Takes dqonoff_sem exclusively. @throws EIO: they are off all the same */
export async function dquot_disable(task: Task, sb: SuperBlock): Promise<void> {
  const { s_dquot: quota } = sb;
  if (!QUOTA_TYPES.some((type) => sb_has_quota_active(sb, type))) return;
  using _on = await quota.dqonoff_sem.write(task);
  await drop_dquot_ref(task, sb);
  try {
    await writeback(task, sb);
  } finally {
    quota.loaded.length = 0;
    quota.dirty.clear();
    quota.releasing.clear();
    for (const dquots of quota.dquots) dquots.clear();
    quota.releaseTimer?.cancel();
    quota.releaseTimer = undefined;
  }
}

/** No inode is charged to anybody any more (drop_dquot_ref). Takes dqptr_sem exclusively. */
async function drop_dquot_ref(task: Task, sb: SuperBlock): Promise<void> {
  const { dqptr_sem, dq_data_lock } = sb.s_dquot;
  const dropped: Dquot[] = [];
  {
    using _ptr = await dqptr_sem.write(task);
    using _data = dq_data_lock.lock(task);
    guard_write(task, GUARDED.i_dquot, dqptr_sem);
    guard_write(task, GUARDED.i_dquot, dq_data_lock);
    for (const inode of sb.inodeHash.values()) dropped.push(...takeAll(inode));
  }
  for (const dquot of dropped) dqput(dquot);
}

function takeAll(inode: Inode): readonly Dquot[] {
  const { i_dquot: own = [] } = inode;
  inode.i_dquot = undefined;
  return own;
}

/**
 * Everything is in the files (dquot_writeback_dquots), and what nobody uses is released. With s_umount held; takes dqonoff_sem shared.
 * @throws EIO EROFS: the first failure, the rest is written all the same
 */
export async function dquot_writeback_dquots(task: Task, sb: SuperBlock): Promise<void> {
  const { dirty, releasing, loaded, dqonoff_sem } = sb.s_dquot;
  if (dirty.size + releasing.size === 0 && !loaded.some((one) => one?.info.dirty === true)) return;
  using _on = await dqonoff_sem.read(task);
  await writeback(task, sb);
}

/** With dqonoff_sem held. @throws as dquot_writeback_dquots */
async function writeback(task: Task, sb: SuperBlock): Promise<void> {
  const { s_dquot: quota } = sb;
  await allInTurn([
    () => forEachDquot(task, [...quota.dirty], (dquot) => write_referenced(task, dquot)),
    ...QUOTA_TYPES.map(
      (type) => () => (quota.loaded[type]?.info.dirty === true ? write_info(task, sb, type) : undefined),
    ),
    // What is released goes from the file where nothing is left of it: that is for after the thaw.
    () => (sb.s_writers.frozen === SB_FREEZE_COMPLETE ? undefined : release_dquots(task, sb)),
  ]);
}

/** Write a quota that must not go meanwhile. */
async function write_referenced(task: Task, dquot: Dquot): Promise<void> {
  dquot.dq_count++;
  try {
    await write_dquot(task, dquot, dquot.dq_sb.s_dquot.dqonoff_sem);
  } finally {
    dqput(dquot);
  }
}

/** Have the filesystem put what holds for all quotas of a type into the file. With dqonoff_sem held. @throws EIO EROFS */
export async function write_info(task: Task, sb: SuperBlock, type: QuotaType): Promise<void> {
  const { dq_op } = sb;
  if (dq_op === undefined) throw errno('ENOSYS');
  const { generic } = sb.s_dquot;
  await call(task, rows.write_info, { sb: sb.s_dquot.dqonoff_sem }, () => dq_op.write_info(task, sb, type));
  check_wraps(task, rows.write_info, sb.s_dquot.generic === generic, dq_op.write_info);
}
