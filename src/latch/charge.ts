/** What an inode takes and gives back of the device's blocks, charged to its owner, group and project: i_blocks follows. Each inside the handle that does it. */

import {
  dquot_active,
  dquot_alloc_inode,
  dquot_alloc_space,
  dquot_drop,
  dquot_free_space,
  dquot_initialize,
  dquot_initialize_needed,
  dquotsOf,
} from '../fs/quota/charge.js';
import { dqput } from '../fs/quota/dquot.js';
import type { ChargeFlags } from '../fs/quota/limits.js';
import type { Dquot } from '../fs/quota/types.js';
import { type Awaitable, andThen, orElse } from '../sched/awaitable.js';
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { FS_PROJINHERIT_FL } from '../uapi/fs.js';
import { S_ISGID } from '../uapi/stat.js';
import type { Run } from './alloc.js';
import { BLOCK_SIZE } from './format/layout.js';
import { infoOf, with_handle } from './info.js';
import type { LatchInode } from './inode.js';
import type { Handle } from './journal/types.js';

const SECTORS = BLOCK_SIZE / 512;
/** Blocks that reading a quota may dirty, where it is new to its file: the tree, and the file's own growth. */
export const DQUOT_CREDITS = 16;
/** Blocks that finding out for whom an inode is charged may dirty. */
export const ACQUIRE_CREDITS = 3 * DQUOT_CREDITS;

/**
 * Find out for whom an inode is charged, in a handle of its own: best before the one of the change, which it would make large. At once where it is known.
 * @throws EIO EROFS
 */
export function initQuota(task: Task, inode: LatchInode): Awaitable<void> {
  return dquot_initialize_needed(inode) ? initInHandle(task, inode) : undefined;
}

function initInHandle(task: Task, inode: LatchInode): Awaitable<void> {
  return with_handle(task, infoOf(inode.i_sb), () => dquot_initialize(task, inode), ACQUIRE_CREDITS);
}

/** Charge blocks. @throws EDQUOT unless `flags.nofail`; EIO */
export function chargeBlocks(task: Task, inode: LatchInode, blocks: number, flags?: ChargeFlags): Awaitable<void> {
  const count = (): void => {
    inode.i_blocks += blocks * SECTORS;
  };
  if (!dquot_active(inode)) return count();
  return andThen(initQuota(task, inode), () => dquot_alloc_space(task, inode, blocks * BLOCK_SIZE, count, flags));
}

/** Charge blocks, as many of them as the limits allow. @returns how many, at least one @throws EDQUOT where not even one is allowed */
function chargeSome(task: Task, inode: LatchInode, blocks: number, flags?: ChargeFlags): Awaitable<number> {
  const charged = orElse(
    () => andThen(chargeBlocks(task, inode, blocks, flags), () => true),
    (error) => {
      if (blocks === 1 || !isErrno(error, 'EDQUOT')) throw error;
      return false;
    },
  );
  return andThen(charged, (done) => (done ? blocks : chargeSome(task, inode, blocks >> 1, flags)));
}

/** Blocks are given back. */
export function unchargeBlocks(task: Task, inode: LatchInode, blocks: number): Awaitable<void> {
  const count = (): void => {
    // A damaged inode may say that it has fewer than it gives back.
    inode.i_blocks = Math.max(inode.delayed * SECTORS, inode.i_blocks - blocks * SECTORS);
  };
  if (!dquot_active(inode)) return count();
  return andThen(initQuota(task, inode), () => dquot_free_space(task, inode, blocks * BLOCK_SIZE, count));
}

export interface TakeFlags extends ChargeFlags {
  /** They are for data that were promised room, or map them. */
  readonly promised?: boolean;
}

/** Take blocks in a row for an inode and charge them, as many as there are and the limits allow, at least one. @throws ENOSPC; EDQUOT unless `flags.nofail` */
export async function takeBlocks(
  task: Task,
  handle: Handle,
  inode: LatchInode,
  want: number,
  goal?: number,
  flags?: TakeFlags,
): Promise<Run> {
  const { alloc } = infoOf(inode.i_sb);
  const { start, length } = await alloc.allocate(task, handle, want, goal, flags?.promised);
  let charged = 0;
  try {
    charged = await chargeSome(task, inode, length, flags);
  } finally {
    if (charged < length) await alloc.free(task, handle, start + charged, length - charged);
  }
  return { start, length: charged };
}

/** Give blocks of an inode back. @throws EIO EROFS */
export async function giveBlocks(task: Task, handle: Handle, inode: LatchInode, run: Run): Promise<void> {
  await infoOf(inode.i_sb).alloc.free(task, handle, run.start, run.length);
  await unchargeBlocks(task, inode, run.length);
}

/** The project of what is made in a directory, or moved there: the directory's, if that passes it on. */
export function inheritedProject(dir: LatchInode): number {
  return (dir.flags & FS_PROJINHERIT_FL) === 0 ? 0 : dir.i_projid;
}

/** Charge a fresh inode, whose owner and group are set. @throws EDQUOT EIO: nobody is charged then */
export function chargeInode(task: Task, inode: LatchInode): Awaitable<void> {
  return dquot_active(inode) ? orElse(chargeActive, dropQuota, task, inode) : undefined;
}

function chargeActive(task: Task, inode: LatchInode): Awaitable<void> {
  return andThen(initQuota(task, inode), () => dquot_alloc_inode(task, inode));
}

function dropQuota(error: unknown, task: Task, inode: LatchInode): never {
  dquot_drop(task, inode);
  throw error;
}

/**
 * Run `body` with what is being made, inodes of the caller in `dir`, with the quotas of those whom it will charge in memory: reading them is not a part of its transaction.
 * @throws EIO; what `body` throws
 */
export function withOwners<T, M>(
  task: Task,
  dir: LatchInode,
  body: (task: Task, making: M) => Awaitable<T>,
  making: M,
): Awaitable<T> {
  return dquot_active(dir) ? readOwners(task, dir, body, making) : body(task, making);
}

async function readOwners<T, M>(
  task: Task,
  dir: LatchInode,
  body: (task: Task, making: M) => Awaitable<T>,
  making: M,
): Promise<T> {
  await initQuota(task, dir);
  const gid = (dir.i_mode & S_ISGID) !== 0 ? dir.i_gid : task.cred.gid;
  const ids = [task.cred.uid, gid, inheritedProject(dir)] as const;
  const read = (): Promise<Dquot[]> => dquotsOf(task, dir.i_sb, ids);
  const held = await with_handle(task, infoOf(dir.i_sb), read, ACQUIRE_CREDITS);
  try {
    return await body(task, making);
  } finally {
    for (const dquot of held) dqput(dquot);
  }
}
