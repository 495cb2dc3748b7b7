/** The first lookup of a name, by one task for all who want it at the same time (fs/dcache.c d_alloc_parallel). */
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import { d_alloc, d_lookup, dget, dput, keyOf } from './dcache.js';
import { DCACHE_PAR_LOOKUP, DCACHE_UNHASHED, type Dentry, type InLookup } from './dentry.js';

/** What d_alloc_parallel found: a dentry that is known, or a fresh one for the caller to look up and pass to d_lookup_done. */
export interface AllocatedParallel {
  readonly dentry: Dentry;
  readonly fresh: boolean;
}

/**
 * The dentry of a name that is not cached, for a first lookup with i_rwsem of the directory shared (d_alloc_parallel): one task looks the name up,
 * the others wait for it.
 */
export function d_alloc_parallel(task: Task, parent: Dentry, name: string): Awaitable<AllocatedParallel> {
  const cached = d_lookup(task, parent, name);
  if (cached !== undefined) return { dentry: cached, fresh: false };
  const pending = parent.d_in_lookup?.get(keyOf(task, parent, name));
  if (pending !== undefined) return joinLookup(task, parent, name, pending);
  const dentry = d_alloc(task, parent, name);
  dentry.d_flags |= DCACHE_PAR_LOOKUP;
  parent.d_in_lookup ??= new Map();
  parent.d_in_lookup.set(dentry.d_key, { dentry, task });
  return { dentry, fresh: true };
}

async function joinLookup(
  task: Task,
  parent: Dentry,
  name: string,
  { dentry: pending, task: looking }: InLookup,
): Promise<AllocatedParallel> {
  dget(pending);
  while ((pending.d_flags & DCACHE_PAR_LOOKUP) !== 0) {
    pending.d_wait ??= new WaitQueue();
    await pending.d_wait.wait(task, { what: `the lookup of ${name}`, blockers: () => [looking] });
  }
  const found =
    (pending.d_flags & DCACHE_UNHASHED) === 0 &&
    pending.d_parent === parent &&
    pending.d_key === keyOf(task, parent, name);
  if (found) return { dentry: pending, fresh: false };
  // It failed, or led to another dentry: look again.
  await dput(task, pending);
  return d_alloc_parallel(task, parent, name);
}

/** Whether the dentry is being looked up for the first time: its filesystem has not said yet what it is (d_in_lookup). */
export function d_in_lookup(dentry: Dentry): boolean {
  return (dentry.d_flags & DCACHE_PAR_LOOKUP) !== 0;
}

/** The first lookup of a name has ended, however it did (d_lookup_done). */
export function d_lookup_done(dentry: Dentry): void {
  if ((dentry.d_flags & DCACHE_PAR_LOOKUP) === 0) return;
  dentry.d_flags &= ~DCACHE_PAR_LOOKUP;
  const pending = dentry.d_parent.d_in_lookup;
  if (pending?.get(dentry.d_key)?.dentry === dentry) pending.delete(dentry.d_key);
  dentry.d_wait?.wake_all();
  dentry.d_wait = undefined;
}
