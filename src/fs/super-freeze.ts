/**
 * Freezing (fs/super.c): writers of three kinds come in through sb_start_write and the like, a freeze lets those who are in finish, keeps others out, kind by kind,
 * and has the filesystem bring the device into a state that can be copied.
 */

import type { Row } from '../contract/row.js';
import { super_operations as rows } from '../contract/super.js';
import { call } from '../locking/context.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import { type Held, heldBy } from '../locking/held.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { wait_event } from '../sched/wait.js';
import { balance_dirty_inodes } from './dirty-inodes.js';
import { I_DIRTY, I_DIRTY_PAGES, I_DIRTY_TIME } from './inode.js';
import { SB_RDONLY, type SuperBlock } from './super-block.js';
import {
  type FreezeLevel,
  SB_FREEZE_COMPLETE,
  SB_FREEZE_FS,
  SB_FREEZE_PAGEFAULT,
  SB_FREEZE_WRITE,
  SB_UNFROZEN,
} from './super-writers.js';
import { sync_filesystem_locked } from './sync.js';

const LEVELS = [SB_FREEZE_WRITE, SB_FREEZE_PAGEFAULT, SB_FREEZE_FS] as const;

type SuperOperation = (task: Task, sb: SuperBlock) => Awaitable<void>;

/** Who writes, until it releases this; undefined where the task has come in already. */
export type Writing = Held<'s_writers', 'read'> | undefined;

/** Whether the task has come in as such a writer already; who keeps writers out, because it freezes, would wait for itself. */
function isIn(task: Task, lock: object): boolean {
  return task.held.length > 0 && heldBy(task, lock)?.exclusive === false;
}

/** Come in as a writer, waiting while the filesystem is frozen (__sb_start_write). */
function start(task: Task, sb: SuperBlock, level: FreezeLevel): Awaitable<Writing> {
  const lock = sb.s_writers.at(level);
  return isIn(task, lock) ? undefined : lock.read(task, level);
}

function startWrite(_room: void, task: Task, sb: SuperBlock): Awaitable<Writing> {
  return start(task, sb, SB_FREEZE_WRITE);
}

/** For a system call that is going to change something (sb_start_write). Outside every lock but those of other kinds of writers. */
export function sb_start_write(task: Task, sb: SuperBlock): Awaitable<Writing> {
  return andThen(balance_dirty_inodes(task, sb), startWrite, task, sb);
}

/** As Writing, of a write of data: 'entered' where it is only counted. */
export type FileWriting = Writing | 'entered';

/**
 * For writing data to a file (file_start_write). Without a freeze it is only counted, as in the kernel each processor counts for itself, because there are so many of them;
 * where every lock is to be followed, it takes the lock. What cannot be frozen keeps nobody away.
 */
export function file_start_write(task: Task, sb: SuperBlock): Awaitable<FileWriting> {
  const { s_writers: writers } = sb;
  const followed = task.validator.stacks && sb.s_op.freeze_fs !== undefined;
  if (writers.frozen !== SB_UNFROZEN || followed || sb.s_wb.crowded) return sb_start_write(task, sb);
  writers.entered++;
  return 'entered';
}

/** The data are written (file_end_write). */
export function file_end_write(sb: SuperBlock, writing: FileWriting): void {
  if (writing !== 'entered') {
    writing?.release();
    return;
  }
  const { s_writers: writers } = sb;
  if (writers.frozen > SB_FREEZE_WRITE) overtaken(sb);
  if (--writers.entered === 0 && writers.frozen !== SB_UNFROZEN) writers.drained.wake_all();
}

/** A freeze has gone on while somebody was writing data. */
function overtaken({ machine: { validator } }: SuperBlock): void {
  validator.violation(undefined, 'guarded-state', {
    message: 'a write of data ends in a filesystem that stands still: the freeze has not waited for it',
    rule: 'freeze#waits-for-writers',
    lock: 's_writers',
  });
}

/** As sb_start_write, if that needs no wait (sb_start_write_trylock). */
export function sb_start_write_trylock(task: Task, sb: SuperBlock): Writing | 'frozen' {
  const { write: lock } = sb.s_writers;
  if (isIn(task, lock)) return undefined;
  return lock.tryRead(task, SB_FREEZE_WRITE) ?? 'frozen';
}

/** For a page fault that makes a page writable (sb_start_pagefault). */
export function sb_start_pagefault(task: Task, sb: SuperBlock): Awaitable<Writing> {
  return start(task, sb, SB_FREEZE_PAGEFAULT);
}

/** For the filesystem's own changes, transactions for example (sb_start_intwrite). */
export function sb_start_intwrite(task: Task, sb: SuperBlock): Awaitable<Writing> {
  return start(task, sb, SB_FREEZE_FS);
}

/** As sb_start_intwrite, if that needs no wait (sb_start_intwrite_trylock). */
export function sb_start_intwrite_trylock(task: Task, { s_writers: { fs: lock } }: SuperBlock): Writing | 'frozen' {
  if (isIn(task, lock)) return undefined;
  return lock.tryRead(task, SB_FREEZE_FS) ?? 'frozen';
}

/**
 * Something is about to be changed: the task has come in as a writer (sb_write_started). A write of data that is only counted is taken for anybody's.
 * Without that a freeze waits for the change, or the change for the thaw, with locks held.
 */
export function assert_sb_write_started(task: Task, { s_writers: writers }: SuperBlock): void {
  if (writers.entered === 0) guard_read(task, GUARDED.changes, writers.write);
}

/** The change is over (sb_end_write and the like). */
export function sb_end_write(writing: Writing): void {
  writing?.release();
}

/**
 * As sb_start_write, for changes to what a mount shows (mnt_want_write).
 * @throws EROFS on a read-only filesystem
 */
export function mnt_want_write(task: Task, sb: SuperBlock): Awaitable<Writing> {
  if ((sb.s_flags & SB_RDONLY) !== 0) throw errno('EROFS');
  return sb_start_write(task, sb);
}

/** Who may write, or why it may not. */
export interface WriteOrRefusal {
  readonly writing: Writing;
  readonly refused: Errno | undefined;
}

/** As mnt_want_write; a filesystem that is read-only keeps its error for later, because what is there already goes before it. */
export function mnt_want_write_or_refusal(task: Task, sb: SuperBlock): Awaitable<WriteOrRefusal> {
  const refused = (sb.s_flags & SB_RDONLY) === 0 ? undefined : errno('EROFS');
  return andThen(sb_start_write(task, sb), writeOrRefusal, refused);
}

function writeOrRefusal(writing: Writing, refused: Errno | undefined): WriteOrRefusal {
  return { writing, refused };
}

/** Run `body` as a change to what a mount shows. @throws EROFS, and what `body` throws */
export function withWrite<T>(task: Task, sb: SuperBlock, body: () => Awaitable<T>): Awaitable<T> {
  return andThen(mnt_want_write(task, sb), (writing) => withCleanup(body, () => sb_end_write(writing)));
}

/** How far the freeze is (s_writers.frozen). s_umount is held exclusively. */
function set_frozen(task: Task, sb: SuperBlock, frozen: number): void {
  guard_write(task, GUARDED.frozen, sb.s_umount);
  sb.s_writers.frozen = frozen;
}

/** Keep one kind of writers out, once those who are in have finished (sb_wait_write). */
async function keepOut(task: Task, sb: SuperBlock, level: FreezeLevel): Promise<void> {
  const held = await sb.s_writers.at(level).write(task, level);
  // The freeze outlives the task that asked for it.
  held.handOver();
  sb.s_writers.held.push(held);
}

/**
 * Call freeze_fs or unfreeze_fs: all kinds of writers are kept out, and none is in. What keeps them out is the task's for that time, as locks taken meanwhile come after it
 * (lockdep_sb_freeze_acquire, lockdep_sb_freeze_release).
 */
async function callFrozen(task: Task, sb: SuperBlock, row: Row, op: SuperOperation | undefined): Promise<void> {
  const { s_writers: writers } = sb;
  for (const held of writers.held) held.transfer(task);
  try {
    await call(task, row, { sb: sb.s_umount }, () => {
      for (const level of LEVELS) guard_write(task, GUARDED.still, writers.at(level));
      if (writers.entered > 0) overtaken(sb);
      return op?.(task, sb);
    });
  } finally {
    for (const held of writers.held) held.handOver();
  }
}

/**
 * A freeze has kept out who writes files or stores to them, and has synced: what was dirty before has been written, or tried again since. What the filesystem itself has dirtied
 * afterwards is the business of freeze_fs.
 * @param since when they were kept out, monotonic milliseconds
 */
function check_synced(task: Task, { s_wb }: SuperBlock, since: number): void {
  if (!task.validator.checking) return;
  const left = s_wb.all().find(({ i_state, dirtied_when, dirtied_time_when }) => {
    if ((i_state & I_DIRTY) !== 0) return dirtied_when < since;
    return (i_state & I_DIRTY_TIME) !== 0 && dirtied_time_when < since;
  });
  if (left === undefined) return;
  task.validator.violation(task, 'guarded-state', {
    message: `a filesystem is frozen and ${(left.i_state & I_DIRTY_PAGES) !== 0 ? 'pages' : 'inodes'} that were dirty before are dirty still: a copy of the device would lack them`,
    rule: 'freeze#writes-what-is-dirty',
    lock: 's_umount',
    held: [...task.held],
  });
}

/**
 * Stop all changes, and bring the device into a state that can be copied (freeze_super). Takes s_umount exclusively.
 * @throws EBUSY where it is frozen or being frozen; what syncing and freeze_fs throw: it is not frozen then
 */
export async function freeze_super(task: Task, sb: SuperBlock): Promise<void> {
  const { s_writers: writers } = sb;
  let umount = await sb.s_umount.write(task);
  if (writers.frozen !== SB_UNFROZEN) {
    umount.release();
    throw errno('EBUSY');
  }
  try {
    if ((sb.s_flags & SB_RDONLY) !== 0) {
      set_frozen(task, sb, SB_FREEZE_COMPLETE);
      return;
    }
    set_frozen(task, sb, SB_FREEZE_WRITE);
    // Writers take s_umount now and then: not to be held while they are waited for.
    umount.release();
    try {
      await keepOut(task, sb, SB_FREEZE_WRITE);
      await wait_event(task, writers.drained, () => writers.entered === 0, { what: 'writers before a freeze' });
    } finally {
      umount = await sb.s_umount.write(task);
    }
    set_frozen(task, sb, SB_FREEZE_PAGEFAULT);
    await keepOut(task, sb, SB_FREEZE_PAGEFAULT);
    const keptOut = sb.sched.monotonic();
    await sync_filesystem_locked(task, sb);
    set_frozen(task, sb, SB_FREEZE_FS);
    await keepOut(task, sb, SB_FREEZE_FS);
    check_synced(task, sb, keptOut);
    await callFrozen(task, sb, rows.freeze_fs, sb.s_op.freeze_fs);
    set_frozen(task, sb, SB_FREEZE_COMPLETE);
  } catch (error) {
    letIn(task, sb);
    throw error;
  } finally {
    umount.release();
  }
}

function letIn(task: Task, sb: SuperBlock): void {
  const { s_writers: writers } = sb;
  set_frozen(task, sb, SB_UNFROZEN);
  for (const held of writers.held.splice(0).reverse()) held.release();
}

/**
 * Let changes go on (thaw_super). Takes s_umount exclusively.
 * @throws EINVAL where it is not frozen; what unfreeze_fs throws: it stays frozen then
 */
export async function thaw_super(task: Task, sb: SuperBlock): Promise<void> {
  using _umount = await sb.s_umount.write(task);
  await thaw_super_locked(task, sb);
}

/** As thaw_super, with s_umount held exclusively. @throws EINVAL where it is not frozen */
export async function thaw_super_locked(task: Task, sb: SuperBlock): Promise<void> {
  if (sb.s_writers.frozen !== SB_FREEZE_COMPLETE) throw errno('EINVAL');
  if ((sb.s_flags & SB_RDONLY) === 0) {
    await callFrozen(task, sb, rows.unfreeze_fs, sb.s_op.unfreeze_fs);
  }
  letIn(task, sb);
}
