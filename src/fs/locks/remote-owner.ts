/** What the lists of locks call the owner of a lock for that is a client far away (nlmsvc_lock_operations, nfsd_posix_mng_ops, nfsd_lease_mng_ops). */
import { GUARDED, guard_read } from '../../locking/guarded.js';
import type { Task } from '../../sched/task.js';
import type { FileLock } from './file-lock.js';
import type { lock_manager_operations } from './file-lock-operations.js';
import { lease_manager_ops } from './leases.js';

/** What to do where a lock is not free: 'try' fails, 'grant' takes it later and says so, 'notify' says when it may be free. */
export type LockWish = 'try' | 'grant' | 'notify';

/** The owner of a client's locks: what the lists of locks ask it, and tell it. Nothing of it may block. */
export abstract class RemoteOwner {
  /** It has not been heard of for longer than it is believed to be there. */
  abstract readonly expired: boolean;
  /** Somebody wants what it has: whether that will be taken from it. */
  abstract condemn(): boolean;
  /** A deferred lock has come, or not. */
  abstract answered(lock: FileLock, granted: boolean): void;
  /** What a lock waited for has changed. */
  abstract unblocked(lock: FileLock): void;
  /** A delegation is to be given back. */
  abstract recalled(lease: FileLock): void;
}

/** For which client a task works: opening a file does not break the client's own delegation. */
const worksFor = new WeakMap<Task, RemoteOwner>();

/** Do something for a client. */
export async function work_for<T>(task: Task, client: RemoteOwner, body: () => Promise<T>): Promise<T> {
  worksFor.set(task, client);
  try {
    return await body();
  } finally {
    worksFor.delete(task);
  }
}

function clientOf({ owner }: FileLock): RemoteOwner | undefined {
  return owner instanceof RemoteOwner ? owner : undefined;
}

/** What is asked about one that is held is true for as long as the lists stay as they are. */
function isListed(task: Task, { file }: FileLock): void {
  const context = file?.f_inode.i_flctx;
  if (context !== undefined) guard_read(task, GUARDED.flc_lists, context.flc_lock);
}

/** What every lock of a client has: it may be taken from one that is gone. */
const expirable: lock_manager_operations = {
  lm_lock_expirable: (task, lock) => {
    isListed(task, lock);
    return clientOf(lock)?.condemn() ?? false;
  },
};

/** By what the client wants to be told. */
export const managed: Readonly<Record<LockWish, lock_manager_operations>> = {
  try: expirable,
  grant: {
    ...expirable,
    lm_grant: (_task, lock, error) => {
      clientOf(lock)?.answered(lock, error === undefined);
    },
  },
  notify: {
    ...expirable,
    lm_notify: (_task, lock) => {
      clientOf(lock)?.unblocked(lock);
    },
  },
};

/** Delegations: recalled, and not broken by what the client itself does (nfsd_lease_mng_ops). */
export const delegation_ops: lock_manager_operations = {
  ...lease_manager_ops,
  lm_break: (task, lease) => {
    isListed(task, lease);
    const client = clientOf(lease);
    // One that is gone will not answer.
    if (client === undefined || client.expired) return true;
    client.recalled(lease);
    return false;
  },
  lm_breaker_owns_lease: (task, lease) => {
    isListed(task, lease);
    return worksFor.get(task) === lease.owner;
  },
};
