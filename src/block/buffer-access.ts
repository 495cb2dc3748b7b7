/**
 * Who changes the bytes of buffers, watched with the deep checks on: they change between jbd2_journal_get_write_access and the end of the handle that has it, and that handle says
 * so (jbd2_journal_dirty_metadata); or with the buffer locked. What changes at another time goes to the log with another's transaction, or nowhere.
 */
import { crc32 } from 'node:zlib';
import type { Task } from '../sched/task.js';
import type { BufferHead } from './buffer-head.js';

const RULE = 'buffer_head#bytes-change-with-write-access';

/** A buffer to which a handle has had write access. */
interface Watched {
  /** Handles that have it now. */
  users: number;
  /** One of them has said that it has changed it. */
  said: boolean;
  /** What the bytes were when there was none; undefined where nothing was in them. */
  sum: number | undefined;
}

const watched = new WeakMap<BufferHead, Watched>();
/** Whether anything was ever watched: without the deep checks nothing is looked up. */
let watching = false;

function sumOf(bh: BufferHead): number | undefined {
  return bh.uptodate ? crc32(bh.b_data) : undefined;
}

function report(task: Task | undefined, bh: BufferHead, what: string): void {
  const { row, held = [] } = task ?? {};
  bh.b_bdev.validator.violation(task, 'guarded-state', {
    message: `block ${bh.b_blocknr} of ${bh.b_bdev.name}: ${what}`,
    rule: RULE,
    lock: 'bh',
    held: [...held],
    ...(row === undefined ? {} : { row }),
  });
}

/** Nobody has write access: the bytes are what they were when the last one had. For those who are about to take them as they are, a commit say. */
export function check_bytes_settled(task: Task, bh: BufferHead): void {
  const known = watched.get(bh);
  if (known === undefined || known.users > 0 || known.sum === undefined || known.sum === sumOf(bh)) return;
  // Told once: from now on they are as they are.
  known.sum = sumOf(bh);
  report(task, bh, 'its bytes were changed by somebody without write access');
}

/** It was read: what is in it is known from now on. With the deep checks on. */
export function bytes_read(bh: BufferHead): void {
  watching = true;
  watched.set(bh, { users: 0, said: false, sum: sumOf(bh) });
}

/** The bytes were changed by who had another right to: they were locked, or nobody else could see them, or a commit completes them. */
export function bytes_settled(bh: BufferHead): void {
  if (!watching) return;
  const known = watched.get(bh);
  if (known !== undefined) known.sum = sumOf(bh);
}

/** The buffers to which one handle has write access. */
export class WriteAccess {
  readonly #buffers = new Set<BufferHead>();

  /** It has access to that one from now on, until `ends`. */
  begins(task: Task, bh: BufferHead): void {
    if (this.#buffers.has(bh)) return;
    check_bytes_settled(task, bh);
    watching = true;
    this.#buffers.add(bh);
    const known = watched.get(bh);
    if (known === undefined) watched.set(bh, { users: 1, said: false, sum: sumOf(bh) });
    else known.users++;
  }

  /** It has changed it. */
  says(bh: BufferHead): void {
    const known = watched.get(bh);
    if (known !== undefined) known.said = true;
  }

  /** Its block was freed: what is in it means nothing. */
  forgets(bh: BufferHead): void {
    this.#buffers.delete(bh);
    watched.delete(bh);
  }

  /** It has none any more. What it has changed it has said. */
  ends(task: Task): void {
    for (const bh of this.#buffers) this.#end(task, bh);
    this.#buffers.clear();
  }

  #end(task: Task, bh: BufferHead): void {
    const known = watched.get(bh);
    if (known === undefined || --known.users > 0) return;
    const sum = sumOf(bh);
    const silent = !known.said && known.sum !== undefined && known.sum !== sum;
    known.said = false;
    known.sum = sum;
    if (silent) report(task, bh, 'its bytes were changed with write access, and nobody has said so');
  }
}

/** Write access of a handle to a buffer begins, where that is watched. @param access what the handle has so far @returns what it has now */
export function access_begins(task: Task, bh: BufferHead, access: WriteAccess | undefined): WriteAccess | undefined {
  if (!task.validator.stacks) {
    // What changes while nobody looks is not to be told of later.
    if (watching) watched.delete(bh);
    return access;
  }
  const its = access ?? new WriteAccess();
  its.begins(task, bh);
  return its;
}
