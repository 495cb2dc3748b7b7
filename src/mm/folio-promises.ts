/** Operations that promise something about a locked folio, called and held to it: release_folio, launder_folio, invalidate_folio, free_folio. */
import { address_space_operations as rows } from '../contract/address-space.js';
import { call, invoke } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { try_to_free_buffers } from './buffers.js';
import { type Folio, PAGE_SIZE } from './folio.js';
import { fields_of, tree_of } from './folio-fields.js';
import { folio_locked_by, folio_violation } from './folio-state.js';
import type { Gfp } from './operations.js';

const RULE = 'address_space_operations.';

/**
 * Ask the filesystem to remove what it keeps with a locked folio that is not under writeback; without release_folio that is taken for buffers.
 * @returns whether it is gone
 */
export function call_release_folio(task: Task, folio: Folio, gfp: Gfp): Awaitable<boolean> {
  if (folio.writeback.isSet) {
    folio_violation(
      task,
      'release_folio is called on a folio under writeback',
      `${RULE}release_folio#not-under-writeback`,
    );
    return false;
  }
  const release = folio.mapping?.a_ops.release_folio;
  if (release === undefined) return try_to_free_buffers(folio);
  const released = invoke(task, rows.release_folio, { folio: folio.lock }, release, folio, gfp);
  return andThen(released, is_gone, task, folio);
}

function is_gone(answer: boolean, task: Task, folio: Folio): boolean {
  if (!answer || folio.private === undefined) return answer;
  folio_violation(
    task,
    'release_folio answered true and has left the private data',
    `${RULE}release_folio#true-means-gone`,
  );
  return false;
}

/** As call_release_folio with GFP_NOWAIT: a filesystem that would have to wait says no. @throws EIO where it waits all the same */
export function call_release_folio_nowait(task: Task, folio: Folio): boolean {
  const { atomicRule } = task;
  task.atomic++;
  task.atomicRule = `${RULE}release_folio#gfp-limits-the-effort`;
  try {
    const released = call_release_folio(task, folio, 'GFP_NOWAIT');
    if (!(released instanceof Promise)) return released;
    folio_violation(
      task,
      'release_folio waits although it was called with GFP_NOWAIT',
      `${RULE}release_folio#gfp-limits-the-effort`,
    );
    throw errno('EIO', 'release_folio');
  } finally {
    task.atomic--;
    task.atomicRule = atomicRule;
  }
}

/** Have a locked dirty folio written before it goes (folio_launder). It stays locked throughout. @throws what launder_folio throws */
export async function folio_launder(task: Task, mapping: AddressSpace, folio: Folio): Promise<void> {
  const { launder_folio } = mapping.a_ops;
  if (!folio.dirty || launder_folio === undefined) return;
  const { taken } = task;
  const held = folio.lock.writer;
  try {
    await call(task, rows.launder_folio, { folio: folio.lock }, () => launder_folio(task, folio));
  } finally {
    if (folio.lock.writer !== held) {
      if (!folio_locked_by(task, folio)) await folio.lock.lock(task);
      folio_violation(
        task,
        `launder_folio has unlocked the folio in between (${task.taken - taken} locks were taken)`,
        `${RULE}launder_folio#locked-throughout`,
      );
    }
  }
  if (!folio.dirty) return;
  folio_violation(task, 'launder_folio has succeeded and the folio is dirty', `${RULE}launder_folio#zero-means-clean`);
}

/**
 * Have the filesystem let go of what it keeps of a part of a locked folio (folio_invalidate).
 * @param inUse the file can be reached by others, so that invalidate_lock has to be held
 */
export function folio_invalidate(
  task: Task,
  mapping: AddressSpace,
  folio: Folio,
  offset: number,
  length: number,
  inUse: boolean,
): Awaitable<void> {
  if (folio.writeback.isSet) {
    folio_violation(task, 'a part of a folio goes away while it is under writeback', 'folio#stays-while-written');
  }
  const { invalidate_folio } = mapping.a_ops;
  if (invalidate_folio === undefined) {
    if (offset !== 0 || length !== PAGE_SIZE || folio.private === undefined) return undefined;
    if (!try_to_free_buffers(folio)) folio.private = undefined;
    return undefined;
  }
  const participants = { folio: folio.lock, mapping: inUse ? mapping.invalidate_lock : undefined };
  const invalidated = invoke(task, rows.invalidate_folio, participants, invalidate_folio, folio, offset, length);
  return andThen(invalidated, checkInvalidated, task, folio, offset, length);
}

/** A folio that went away as a whole has nothing of the filesystem's left. */
function checkInvalidated(_done: void, task: Task, folio: Folio, offset: number, length: number): void {
  if (offset !== 0 || length !== PAGE_SIZE || folio.private === undefined) return;
  folio.private = undefined;
  folio_violation(
    task,
    'the whole folio goes away and invalidate_folio has left its private data',
    `${RULE}invalidate_folio#drops-what-the-range-covers`,
  );
}

/** Tell the filesystem that a locked folio has left the cache. */
export function call_free_folio(task: Task, mapping: AddressSpace, folio: Folio): void {
  const { free_folio } = mapping.a_ops;
  if (free_folio === undefined) return;
  invoke(task, rows.free_folio, { folio: folio.lock }, free_folio, folio);
  if (folio.mapping === undefined && mapping.i_pages.load(folio.index) !== folio) return;
  if (mapping.i_pages.load(folio.index) === folio) tree_of(mapping).erase(folio.index);
  fields_of(folio).mapping = undefined;
  folio_violation(
    task,
    'free_folio has put the folio back into the cache',
    `${RULE}free_folio#already-out-of-the-cache`,
  );
}
