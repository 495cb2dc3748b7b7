/**
 * The states of a folio and the ways between them: locked, uptodate, dirty, under writeback. The marks of the tree
 * follow the bits of the folio here and nowhere else; a transition that the document does not allow is a violation.
 */
import { io_under_way } from '../block/in-flight.js';
import { address_space_operations } from '../contract/address-space.js';
import type { Row } from '../contract/row.js';
import { call, type LockRef } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Exclusive } from '../locking/held.js';
import type { LockOptions } from '../locking/sleeplock.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { type Folio, folio_get, folio_put } from './folio.js';
import { fields_of, tree_of, writeback_of } from './folio-fields.js';
import type { WritebackControl } from './operations.js';

/**
 * Report a state of a folio that must not be.
 * @param rule of a row, or `folio#what-is-demanded`
 * @param operation which has left it so and has returned
 */
export function folio_violation(task: Task, message: string, rule: string, operation?: object): void {
  const row = rowOfRule(rule) ?? task.row;
  task.validator.violation(task, 'folio-state', {
    message,
    lock: 'folio',
    held: [...task.held],
    rule,
    ...(row === undefined ? {} : { row }),
    ...(operation === undefined ? {} : { operation }),
  });
}

/** The operation whose rule it is. */
function rowOfRule(rule: string): Row | undefined {
  const op = /^address_space_operations\.(\w+)/.exec(rule)?.[1];
  return Object.values(address_space_operations).find((row) => row.op === op);
}

/** Lock a folio, sleeping while it is locked (folio_lock). The caller holds a reference. @throws EINTR if interruptible */
export function folio_lock(task: Task, folio: Folio, options?: LockOptions): Awaitable<Exclusive<'folio'>> {
  return folio.lock.lock(task, options);
}

/** Lock a folio if nobody has (folio_trylock). */
export function folio_trylock(task: Task, folio: Folio): boolean {
  return folio.lock.tryLock(task) !== undefined;
}

/** Unlock a folio that the task locked, or that was left to the I/O that ends now (folio_unlock). */
export function folio_unlock(task: Task, folio: Folio): void {
  folio.lock.unlock(task);
}

/** Leave the folio's lock to I/O that was begun: its completion unlocks it, with folio_end_read or folio_unlock. */
export function folio_hand_over(folio: Folio): void {
  folio.lock.writer?.handOver();
}

/** True where `task` itself holds the folio's lock, which it does not once the lock was left to I/O. */
export function folio_locked_by(task: Task, folio: Folio): boolean {
  return folio.lock.writer?.task === task;
}

/** A read has ended: the bytes are the file's if it went well; unlocks (folio_end_read). Callable in completion context. */
export function folio_end_read(task: Task, folio: Folio, success: boolean): void {
  if (task.validator.stacks && io_under_way(folio.data) === 'read') {
    folio_violation(
      task,
      'the read of a folio ends before the device has read it',
      'address_space_operations.read_folio#unlocks-now-or-at-completion',
    );
  }
  if (success) folio_mark_uptodate(folio);
  else folio.error = true;
  folio_unlock(task, folio);
}

/** The bytes of the folio are the file's (folio_mark_uptodate). The folio is locked: who has waited for its lock looks at this first. */
export function folio_mark_uptodate(folio: Folio): void {
  if (!folio.lock.locked && folio.mapping !== undefined) unlocked_uptodate(folio);
  fields_of(folio).uptodate = true;
  folio.error = false;
}

/** The bytes of the folio are not the file's any more, and have to be read again (folio_clear_uptodate). */
export function folio_clear_uptodate(folio: Folio): void {
  fields_of(folio).uptodate = false;
}

function unlocked_uptodate({ memory }: Folio): void {
  memory.validator?.violation(undefined, 'folio-state', {
    message: 'a folio becomes uptodate that is not locked: who has waited for its lock has found no bytes',
    rule: 'address_space_operations.read_folio#unlocks-now-or-at-completion',
    row: address_space_operations.read_folio,
    lock: 'folio',
  });
}

/**
 * The bytes of a folio have changed and the device must get them (folio_mark_dirty): calls dirty_folio, which may not
 * block. The folio is locked, or it was found in a page table whose lock is held: either way it cannot be truncated.
 * @param ptl that page_table_lock
 * @returns true where it was clean
 */
export function folio_mark_dirty(task: Task, folio: Folio, ptl?: LockRef<'page_table_lock'>): boolean {
  const { mapping } = folio;
  if (mapping === undefined) return dirtyAlone(folio);
  // Somebody uses it: reclaim must not wait at the end of its writeback.
  folio.reclaim = false;
  const { dirty_folio } = mapping.a_ops;
  if (dirty_folio === undefined) return filemap_dirty_folio(task, mapping, folio);
  const held = ptl === undefined ? { folio: folio.lock } : { mm: ptl };
  const fresh = call(task, address_space_operations.dirty_folio, held, () => dirty_folio(task, mapping, folio));
  if (!folio.dirty && folio.mapping === mapping) not_dirtied(task, mapping, folio, dirty_folio);
  return fresh;
}

/** What has changed must get to the device: it is dirty after the report, which may throw. */
function not_dirtied(task: Task, mapping: AddressSpace, folio: Folio, operation: object): void {
  folio_account_dirtied(task, mapping, folio);
  task.validator.violation(task, 'folio-state', {
    message: 'dirty_folio has left the folio clean: what was changed would not be written',
    rule: 'folio#dirty-once-marked',
    row: address_space_operations.dirty_folio,
    lock: 'folio',
    held: [...task.held],
    operation,
  });
}

/** dirty_folio for files whose pages are never written back (noop_dirty_folio): dirty keeps reclaim away, and nobody counts it. */
export function noop_dirty_folio(_task: Task, _mapping: AddressSpace, folio: Folio): boolean {
  return dirtyAlone(folio);
}

function dirtyAlone(folio: Folio): boolean {
  if (folio.dirty) return false;
  fields_of(folio).dirty = true;
  return true;
}

/** dirty_folio for filesystems that keep nothing else about dirty pages: mark it in the tree, and the inode dirty (filemap_dirty_folio). */
export function filemap_dirty_folio(task: Task, mapping: AddressSpace, folio: Folio): boolean {
  if (task.validator.observer !== undefined || !folio_locked_by(task, folio)) {
    const ptl = task.held.findLast(({ name }) => name === 'page_table_lock')?.lock as LockRef<'page_table_lock'>;
    guard_write(task, GUARDED.folio_dirty, folio.lock, ptl);
  }
  if (folio.dirty) return false;
  if (folio.mapping !== mapping) return false;
  if (!folio.uptodate && folio.private === undefined) {
    folio_violation(task, 'a folio is dirtied that is not uptodate', 'folio#dirty-when-uptodate');
  }
  folio_account_dirtied(task, mapping, folio);
  return true;
}

/** It is dirty, in the tree and in the counts (folio_account_dirtied). */
export function folio_account_dirtied(task: Task, mapping: AddressSpace, folio: Folio): void {
  fields_of(folio).dirty = true;
  const { memory } = mapping;
  const bdi = mapping.host.i_bdi;
  memory.nr_dirty++;
  if (bdi !== undefined) {
    bdi.nr_dirty++;
    bdi.nr_dirtied++;
  }
  folio.dirtied = ++mapping.nr_dirtied;
  tree_of(mapping).setMark(folio.index, 'dirty');
  mapping.host.mark_dirty_pages(task);
}

/**
 * I/O on a locked folio begins (folio_start_writeback, set_page_writeback). Its lock may be dropped afterwards; nobody takes the folio
 * out of the cache until folio_end_writeback.
 */
export function folio_start_writeback(task: Task, folio: Folio): void {
  const { mapping } = folio;
  if (!folio.lock.locked) {
    folio_violation(
      task,
      'writeback begins on a folio that is not locked',
      'address_space_operations.writepage#writeback-before-unlock',
    );
  }
  if (!writeback_of(folio).set()) {
    folio_violation(
      task,
      'writeback begins on a folio that is under writeback',
      'address_space_operations.writepage#sync-waits-for-in-progress-io',
    );
    return;
  }
  if (mapping !== undefined && !mapping.i_pages.getMark(folio.index, 'dirty')) {
    folio_violation(
      task,
      'writeback begins on a folio that is not tagged dirty',
      'address_space_operations.writepages#only-pages-up-for-io',
    );
  }
  task.nr_writeback++;
  folio_get(folio);
  if (mapping === undefined) return;
  const { memory } = mapping;
  const i_pages = tree_of(mapping);
  memory.nr_writeback++;
  const bdi = mapping.host.i_bdi;
  if (bdi !== undefined) bdi.nr_writeback++;
  i_pages.setMark(folio.index, 'writeback');
  i_pages.clearMark(folio.index, 'towrite');
  if (!folio.dirty) i_pages.clearMark(folio.index, 'dirty');
}

/** I/O on a folio has ended, well or not (folio_end_writeback, end_page_writeback). Callable in completion context. An `error` is told to everybody who has the file open. */
export function folio_end_writeback(task: Task, folio: Folio, error?: Errno): void {
  if (!folio.writeback.isSet) {
    folio_violation(
      task,
      'writeback ends on a folio that is not under writeback',
      'address_space_operations.writepage#completion-ends-writeback',
    );
    return;
  }
  if (task.validator.stacks && io_under_way(folio.data) === 'write') {
    folio_violation(
      task,
      'writeback of a folio ends before the device has written it',
      'address_space_operations.writepage#completion-ends-writeback',
    );
  }
  const { mapping, memory } = folio;
  if (error !== undefined) {
    folio.error = true;
    if (mapping !== undefined) mapping_set_error(mapping, error);
  }
  if (mapping !== undefined) {
    memory.nr_writeback--;
    tree_of(mapping).clearMark(folio.index, 'writeback');
    const bdi = mapping.host.i_bdi;
    if (bdi !== undefined) {
      bdi.nr_writeback--;
      bdi.nr_written++;
    }
  }
  writeback_of(folio).clear();
  if (folio.reclaim) {
    folio.reclaim = false;
    if (folio.lru === memory.inactive) {
      memory.inactive.remove(folio);
      memory.inactive.addTail(folio);
    }
  }
  folio_put(folio);
  if (memory.nr_dirty + memory.nr_writeback <= memory.dirty_thresh) memory.dirtyWaiters.wake_all();
}

/** writepage cannot write the folio now: it is dirty again, for a later pass (folio_redirty_for_writepage). The folio is locked. */
export function folio_redirty_for_writepage(task: Task, wbc: WritebackControl, folio: Folio): boolean {
  const { mapping } = folio;
  guard_write(task, GUARDED.folio_dirty, folio.lock);
  wbc.pages_skipped++;
  return mapping === undefined ? dirtyAlone(folio) : filemap_dirty_folio(task, mapping, folio);
}

/** Sleep until no I/O is under way on the folio (folio_wait_writeback); at once where there is none. The caller holds a reference. */
export function folio_wait_writeback(task: Task, folio: Folio, options?: LockOptions): Awaitable<void> {
  if (folio.writeback.isSet && task.writepage_mode === 'WBC_SYNC_NONE') {
    folio_violation(
      task,
      'a writepage that is to clean memory waits for I/O under way',
      'address_space_operations.writepage#cleansing-avoids-blocking',
    );
  }
  return folio.writeback.wait(task, options);
}

/** Remember that writing the mapping back has failed: for everybody who has the file open, and for the next who waits (mapping_set_error). */
export function mapping_set_error(mapping: AddressSpace, error: Errno): void {
  mapping.wb_err.set(error);
  mapping.host.note_wb_error?.(error);
  if (mapping.error === undefined || error.code !== 'ENOSPC') mapping.error = error;
}
