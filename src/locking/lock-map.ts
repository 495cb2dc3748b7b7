/**
 * A lock that is no lock: something that must not be entered again from within, or waited for by who is inside, is told to the validator as if
 * it were one (lock_map_acquire). fs_reclaim is such a thing: reclaim takes the filesystem's locks, so who holds one of them may not start it.
 */
import type { LockName } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import { Held, type Releasable } from './held.js';
import { defaultKey, type LockClassKey } from './lockdep/class.js';

export class LockMap<L extends LockName> implements Releasable {
  readonly key: LockClassKey<L>;

  constructor(name: L) {
    this.key = defaultKey(name, 'map');
  }

  get name(): L {
    return this.key.name;
  }

  /** Enter it; until the guard is released, what is taken is taken inside. */
  enter(task: Task): Held<L, 'write'> {
    task.validator.acquire(task, this, 'write', 0);
    const held = new Held<L, 'write'>(this.key, this, 'write', task, 0);
    task.validator.acquired(task, held, false);
    return held;
  }

  /** Tell the validator that it may be entered here, though it is not now (might_alloc for fs_reclaim). */
  might(task: Task): void {
    task.validator.acquire(task, this, 'write', 0);
  }

  release(_held: Held): void {}
}

/** Reclaim: entered by who frees memory, and told of by who allocates and may have to. */
export const fs_reclaim = new LockMap('fs_reclaim');
