/**
 * Charging inodes for what they take (fs/quota/dquot.c). A filesystem calls these where it counts blocks and inodes; each takes dqptr_sem shared, inside the transaction of
 * the change. `count` is called with the locks held, once the charge is made, and changes what the inode counts (i_blocks), so that both agree for who moves an
 * inode from one owner to another. Without quotas only `count` is called.
 */
import { GUARDED, guard_read, guard_write } from '../../locking/guarded.js';
import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import { type Inode, S_NOQUOTA } from '../inode.js';
import type { SuperBlock } from '../super-block.js';
import { dqget, dqput, dquots_changed } from './dquot.js';
import { type ChargeFlags, dquot_add_inodes, dquot_add_space, dquot_decr_inodes, dquot_decr_space } from './limits.js';
import { type Dquot, QUOTA_TYPES, type QuotaIds, type QuotaType, sb_has_quota_active } from './types.js';

const NONE: readonly Dquot[] = [];

/** Whether anybody is charged for the inode (dquot_active). */
export function dquot_active(inode: Inode): boolean {
  const { loaded } = inode.i_sb.s_dquot;
  return loaded.length > 0 && (inode.i_flags & S_NOQUOTA) === 0;
}

/** Whose quota of a type the inode counts for. */
function ownerOf(inode: Inode, type: QuotaType): number {
  return idsOf(inode)[type];
}

/** Whom the inode belongs to. */
export function idsOf({ i_uid, i_gid, i_projid }: Inode): readonly [number, number, number] {
  return [i_uid, i_gid, i_projid];
}

/** Whether it is known for whom the inode is charged, of all types that are counted. */
function isInitialized(inode: Inode): boolean {
  const { i_dquot: known } = inode;
  return QUOTA_TYPES.every(
    (type) => known?.some((dquot) => dquot.dq_type === type) === true || !sb_has_quota_active(inode.i_sb, type),
  );
}

/**
 * Find out for whom an inode is charged (dquot_initialize); whoever is about to charge it does this first. Takes dqptr_sem, and reads quotas that are not in
 * memory. In a handle of the filesystem, where it has a journal.
 * @throws EIO
 */
export function dquot_initialize(task: Task, inode: Inode): Awaitable<void> {
  return dquot_initialize_needed(inode) ? initialize(task, inode) : undefined;
}

/** Whether dquot_initialize has anything to do. */
export function dquot_initialize_needed(inode: Inode): boolean {
  return dquot_active(inode) && !isInitialized(inode);
}

/** As dquot_initialize, where it has something to do. */
export async function initialize(task: Task, inode: Inode): Promise<void> {
  const { i_sb: sb } = inode;
  const { dqptr_sem, dq_data_lock } = sb.s_dquot;
  while (dquot_initialize_needed(inode)) {
    const got = await dquotsOf(task, sb, idsOf(inode));
    const unused: Dquot[] = [];
    {
      using _ptr = await dqptr_sem.write(task);
      using _data = dq_data_lock.lock(task);
      guard_write(task, GUARDED.i_dquot, dqptr_sem);
      guard_write(task, GUARDED.i_dquot, dq_data_lock);
      for (const dquot of got) if (!adopt(task, inode, dquot)) unused.push(dquot);
    }
    for (const dquot of unused) dqput(dquot);
  }
}

/** The inode is charged to that quota from now on, unless another task has settled it meanwhile or it has changed hands. */
function adopt(task: Task, inode: Inode, dquot: Dquot): boolean {
  const { dq_type: type } = dquot;
  if (ownerOf(inode, type) !== dquot.dq_id || !sb_has_quota_active(inode.i_sb, type)) return false;
  const known = inode.i_dquot ?? [];
  if (known.some((other) => other.dq_type === type)) return false;
  inode.i_dquot = [...known, dquot];
  const reserved = inode.i_sb.dq_op?.get_reserved_space?.(inode) ?? 0;
  if (reserved === 0) return true;
  guard_write(task, GUARDED.dquot, inode.i_sb.s_dquot.dq_data_lock);
  dquot.dq_dqb.dqb_rsvspace += reserved;
  return true;
}

/** The quotas of a user, a group and a project, as far as they are counted, with references. Takes dqptr_sem shared. @throws EIO */
export async function dquotsOf(task: Task, sb: SuperBlock, ids: QuotaIds): Promise<Dquot[]> {
  const { dqptr_sem } = sb.s_dquot;
  using _ptr = await dqptr_sem.read(task);
  const got: Dquot[] = [];
  try {
    for (const type of QUOTA_TYPES) {
      const id = ids[type];
      if (id !== undefined && sb_has_quota_active(sb, type)) got.push(await dqget(task, sb, type, id, dqptr_sem));
    }
    return got;
  } catch (error) {
    for (const dquot of got) dqput(dquot);
    throw error;
  }
}

/** Nobody is charged for the inode any more, because it leaves memory (dquot_drop). May not wait, and need not: nobody else has the inode. */
export function dquot_drop(task: Task, inode: Inode): void {
  if (inode.i_dquot === undefined) return;
  const { dq_data_lock } = inode.i_sb.s_dquot;
  const dropped = inode.i_dquot;
  {
    using _data = dq_data_lock.lock(task);
    guard_write(task, GUARDED.i_dquot, dq_data_lock);
    inode.i_dquot = undefined;
  }
  for (const dquot of dropped) dqput(dquot);
}

/** Change the numbers of all quotas of an inode, in one step; those that were changed before one refuses are changed back. */
function change(
  task: Task,
  inode: Inode,
  count: () => void,
  one: (dquot: Dquot) => void,
  back: (dquot: Dquot) => void,
): readonly Dquot[] {
  const { dq_data_lock } = inode.i_sb.s_dquot;
  using _data = dq_data_lock.lock(task);
  guard_read(task, GUARDED.i_dquot, dq_data_lock);
  guard_write(task, GUARDED.dquot, dq_data_lock);
  const dquots = inode.i_dquot ?? NONE;
  const done: Dquot[] = [];
  try {
    for (const dquot of dquots) {
      one(dquot);
      done.push(dquot);
    }
  } catch (error) {
    for (const dquot of done) back(dquot);
    throw error;
  }
  count();
  return dquots;
}

/** Change the numbers of all quotas of an inode, and let the filesystem know. */
function charge(
  task: Task,
  inode: Inode,
  count: () => void,
  one: (dquot: Dquot) => void,
  back: (dquot: Dquot) => void,
): Awaitable<void> {
  const { i_sb: sb } = inode;
  const { dqptr_sem } = sb.s_dquot;
  return andThen(dqptr_sem.read(task), (held) =>
    withCleanup(
      () => {
        guard_read(task, GUARDED.i_dquot, dqptr_sem);
        return dquots_changed(task, sb, change(task, inode, count, one, back), dqptr_sem);
      },
      () => held.release(),
    ),
  );
}

/**
 * An inode takes bytes (dquot_alloc_space).
 * @throws EDQUOT unless `flags.nofail`: `count` was not called then
 */
export function dquot_alloc_space(
  task: Task,
  inode: Inode,
  bytes: number,
  count: () => void,
  flags: ChargeFlags = {},
): Awaitable<void> {
  if (!dquot_active(inode)) return count();
  return charge(
    task,
    inode,
    count,
    (dquot) => dquot_add_space(task, dquot, bytes, 0, flags),
    (dquot) => dquot_decr_space(dquot, bytes, 0),
  );
}

/** An inode gives bytes back (dquot_free_space). */
export function dquot_free_space(task: Task, inode: Inode, bytes: number, count: () => void): Awaitable<void> {
  if (!dquot_active(inode)) return count();
  return charge(
    task,
    inode,
    count,
    (dquot) => dquot_decr_space(dquot, bytes, 0),
    () => undefined,
  );
}

/** Bytes are promised to an inode (dquot_reserve_block): in memory only, so that no transaction is needed. Takes dqptr_sem shared. @throws EDQUOT */
export function dquot_reserve_space(task: Task, inode: Inode, bytes: number, count: () => void): Awaitable<void> {
  if (!dquot_active(inode)) return count();
  const { dqptr_sem } = inode.i_sb.s_dquot;
  return andThen(dqptr_sem.read(task), (held) =>
    withCleanup(
      () => {
        guard_read(task, GUARDED.i_dquot, dqptr_sem);
        change(
          task,
          inode,
          count,
          (dquot) => dquot_add_space(task, dquot, 0, bytes, {}),
          (dquot) => dquot_decr_space(dquot, 0, bytes),
        );
      },
      () => held.release(),
    ),
  );
}

/** A promise is void (dquot_release_reservation_block). May not wait: dq_data_lock alone keeps the pointers and the numbers together. */
export function dquot_release_reservation(task: Task, inode: Inode, bytes: number, count: () => void): void {
  if (!dquot_active(inode)) {
    count();
    return;
  }
  change(
    task,
    inode,
    count,
    (dquot) => dquot_decr_space(dquot, 0, bytes),
    () => undefined,
  );
}

/** A promise is kept (dquot_claim_space): what was promised is in use. */
export function dquot_claim_space(task: Task, inode: Inode, bytes: number, count: () => void): Awaitable<void> {
  if (!dquot_active(inode)) return count();
  const claim = (dquot: Dquot): void => {
    const { dq_dqb: dqb } = dquot;
    dqb.dqb_rsvspace = Math.max(0, dqb.dqb_rsvspace - bytes);
    dqb.dqb_curspace += bytes;
  };
  return charge(task, inode, count, claim, () => undefined);
}

/** A new inode (dquot_alloc_inode). @throws EDQUOT */
export function dquot_alloc_inode(task: Task, inode: Inode): Awaitable<void> {
  return dquot_active(inode) ? addInode(task, inode) : undefined;
}

function addInode(task: Task, inode: Inode): Awaitable<void> {
  return charge(
    task,
    inode,
    () => undefined,
    (dquot) => dquot_add_inodes(task, dquot, 1),
    (dquot) => dquot_decr_inodes(dquot, 1),
  );
}

/** An inode goes (dquot_free_inode). */
export function dquot_free_inode(task: Task, inode: Inode): Awaitable<void> {
  return dquot_active(inode) ? takeInode(task, inode) : undefined;
}

function takeInode(task: Task, inode: Inode): Awaitable<void> {
  return charge(
    task,
    inode,
    () => undefined,
    (dquot) => dquot_decr_inodes(dquot, 1),
    () => undefined,
  );
}
