/** Reading directories (fs/readdir.c). */
import { file_operations as rows } from '../contract/file.js';
import { invoke, take } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { type Held, heldBy, release_held } from '../locking/held.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import type { File } from './file.js';
import { I_MUTEX_NORMAL, S_DEAD } from './inode.js';
import type { file_operations } from './operations.js';
import { file_accessed } from './time.js';
import type { DirContext } from './types.js';

/** Lists a directory, as file_operations.iterate_shared. */
export type Iterator = NonNullable<file_operations['iterate_shared']>;

/** Who waits for a directory may be killed. */
const KILLABLE = { killable: true };
/** A context that starts where the file is. */
const FROM_FILE = -1;

/**
 * As iterate_dir, from the position of the open file on, which others who share the file do not move meanwhile (getdents(2)).
 * @param actor takes one entry, or returns false where there is no room for it
 */
export function iterate_dir_from_pos(
  task: Task,
  file: File,
  actor: (name: string, ino: number, type: number) => boolean,
): Awaitable<void> {
  return iterate_dir(task, file, { pos: FROM_FILE, actor });
}

/**
 * Emit the entries of a directory from ctx.pos on (iterate_dir). Takes f_pos_lock, then i_rwsem shared. At once where neither is held by
 * others and the filesystem has the entries at hand.
 * @throws ENOTDIR; ENOENT where it was removed; EINTR while waiting for the lock
 */
export function iterate_dir(task: Task, file: File, ctx: DirContext): Awaitable<void> {
  if (task.validator.stacks) watch_actor(task, ctx);
  const { iterate_shared } = file.f_op;
  if (iterate_shared === undefined) throw errno('ENOTDIR');
  return andThen(file.f_pos_lock.lock(task), withPosition, task, file, ctx, iterate_shared);
}

function withPosition(
  position: Held,
  task: Task,
  file: File,
  ctx: DirContext,
  iterate_shared: Iterator,
): Awaitable<void> {
  return withCleanup(lockDirectory, release_held, position, task, file, ctx, iterate_shared);
}

function lockDirectory(
  _position: Held,
  task: Task,
  file: File,
  ctx: DirContext,
  iterate_shared: Iterator,
): Awaitable<void> {
  const taken = take(task, rows.iterate_shared, 'inode', file.f_inode.i_rwsem, I_MUTEX_NORMAL, KILLABLE);
  return andThen(taken, withDirectory, task, file, ctx, iterate_shared);
}

function withDirectory(held: Held, task: Task, file: File, ctx: DirContext, iterate_shared: Iterator): Awaitable<void> {
  return withCleanup(iterateLocked, release_held, held, task, file, ctx, iterate_shared);
}

function iterateLocked(
  _held: Held,
  task: Task,
  file: File,
  ctx: DirContext,
  iterate_shared: Iterator,
): Awaitable<void> {
  const { f_inode: inode } = file;
  if (ctx.pos === FROM_FILE) ctx.pos = file.f_pos;
  if ((inode.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
  const participants = { file: file.f_pos_lock, inode: inode.i_rwsem };
  const listed = invoke(task, rows.iterate_shared, participants, iterate_shared, file, ctx);
  return andThen(listed, keepPosition, task, file, ctx);
}

function keepPosition(_listed: void, task: Task, file: File, ctx: DirContext): Awaitable<void> {
  guard_write(task, GUARDED.f_pos, file.f_pos_lock);
  file.f_pos = ctx.pos;
  return file_accessed(task, file);
}

/** An entry goes to the caller's memory, which may have to be faulted in: looked at with the deep checks on, because there are many. */
function watch_actor(task: Task, ctx: DirContext): void {
  const { actor } = ctx;
  ctx.actor = (...entry) => {
    if (task.atomic > 0) might_sleep(task, 'dir_emit');
    return actor(...entry);
  };
}

/**
 * Run an ->iterate of old, which wants the directory to itself, as ->iterate_shared (wrap_directory_iterator). i_rwsem is held shared; it is given up, taken exclusively, and held shared again afterwards.
 * @throws ENOENT where the directory was removed meanwhile; what `iterate` throws
 */
export async function wrap_directory_iterator(
  task: Task,
  file: File,
  ctx: DirContext,
  iterate: Iterator,
): Promise<void> {
  const { f_inode: inode } = file;
  const held = heldBy(task, inode.i_rwsem) as Held<'i_rwsem', 'read'>;
  await inode.i_rwsem.exclusively(held, () => {
    if ((inode.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
    return iterate(task, file, ctx);
  });
}
