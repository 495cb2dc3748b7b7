/**
 * Locks and delegations for clients that are far away (what lockd and nfsd are to the VFS). A client is known by what it tells, has no descriptors, and may
 * vanish without a word: it renews its lease, and once that has run out, what it holds is taken from it as soon as somebody else wants it.
 */
import { GUARDED, guard_read } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { dput } from './dcache.js';
import { dentry_of_ino } from './export.js';
import type { File } from './file.js';
import type { FileLock, FileLockType, LockOutcome } from './file-lock.js';
import type { lock_manager_operations } from './file-lock-operations.js';
import { lease_manager_ops, vfs_setlease } from './leases.js';
import { OFFSET_MAX } from './lock-list.js';
import { vfs_cancel_lock, vfs_lock_file, vfs_test_lock } from './locks.js';
import { fput, vfs_open } from './open.js';
import type { SuperBlock } from './super-block.js';

/** What the server calls its clients back for. None is called in the stack, or under the locks, of whoever has the reason. */
export interface ClientCallbacks {
  /** A lock that was asked for with 'grant' is the client's now (NLM_GRANTED). */
  granted?(ino: number): void;
  /** A lock that was asked for with 'notify' may be free: ask again (CB_NOTIFY_LOCK). */
  notify?(ino: number): void;
  /** Somebody wants what the delegation excludes: give it back (CB_RECALL). */
  recall?(ino: number): void;
}

/** A part of a file. */
export interface RemoteRange {
  readonly type: FileLockType;
  readonly start: number;
  /** Bytes; 0: to the end of any file. */
  readonly length: number;
}

/** What to do where a lock is not free: 'try' fails, 'grant' takes it later and says so, 'notify' says when it may be free. */
export type LockWish = 'try' | 'grant' | 'notify';

/** A file that a client has open at the server. */
interface RemoteFile {
  readonly file: File;
  /** Requests that were deferred. */
  readonly pending: Set<FileLock>;
}

/** For which client a task works: opening a file does not break the client's own delegation. */
const worksFor = new WeakMap<Task, RemoteClient>();

export class LockManager {
  readonly sb: SuperBlock;
  /** For how long a client that says nothing is believed to be there, milliseconds. */
  readonly lease: number;
  readonly #clients = new Set<RemoteClient>();
  readonly #doomed = new Set<RemoteClient>();
  readonly #due: (() => void)[] = [];

  constructor(sb: SuperBlock, options: { readonly lease: number }) {
    this.sb = sb;
    this.lease = options.lease;
  }

  /** A client introduces itself (SETCLIENTID). */
  connect(callbacks: ClientCallbacks = {}): RemoteClient {
    const client = new RemoteClient(this, callbacks);
    this.#clients.add(client);
    return client;
  }

  /** The server stops: nobody holds anything any more. */
  async stop(task: Task): Promise<void> {
    for (const client of this.#clients) await client.destroy(task);
  }

  /** Call a client back, soon. May not block. */
  post(callback: () => void): void {
    this.#due.push(callback);
    if (this.#due.length > 1) return;
    const { sched, machine } = this.sb;
    const sent = sched.run(async () => {
      await sched.yield();
      for (const due of this.#due.splice(0)) due();
    });
    if (sent instanceof Promise) {
      sent.catch((error: unknown) => machine.printk?.(`${this.sb.s_id}: a client was not called back: ${error}`));
    }
  }

  /** Whether a client may be dropped; then it will be (try_to_expire_client). May not block. */
  condemn(client: RemoteClient): boolean {
    if (!client.expired) return false;
    this.#doomed.add(client);
    return true;
  }

  /** Take everything from the clients that were condemned. */
  async expire(task: Task): Promise<void> {
    for (const client of this.#doomed) {
      this.#doomed.delete(client);
      await client.destroy(task);
    }
  }

  forget(client: RemoteClient): void {
    this.#clients.delete(client);
  }
}

function clientOf({ owner }: FileLock): RemoteClient | undefined {
  return owner instanceof RemoteClient ? owner : undefined;
}

function inoOf({ file }: FileLock): number {
  return file?.f_inode.i_ino ?? 0;
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
    const client = clientOf(lock);
    return client?.manager.condemn(client) ?? false;
  },
};

/** By what the client wants to be told. */
const managed: Readonly<Record<LockWish, lock_manager_operations>> = {
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
const delegation_ops: lock_manager_operations = {
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

export class RemoteClient {
  readonly manager: LockManager;
  readonly #callbacks: ClientCallbacks;
  readonly #files = new Map<number, RemoteFile>();
  /** How many files it has opened so far. */
  #states = 0;
  #until: number;
  #gone = false;

  constructor(manager: LockManager, callbacks: ClientCallbacks) {
    this.manager = manager;
    this.#callbacks = callbacks;
    this.#until = manager.sb.sched.monotonic() + manager.lease;
  }

  /** It has not been heard of for longer than its lease. It keeps what it has until that is in somebody's way (a courtesy client). */
  get expired(): boolean {
    return this.manager.sb.sched.monotonic() >= this.#until;
  }

  /** It is still there (RENEW). @throws ESTALE where it was dropped: it must connect anew and has lost everything */
  renew(): void {
    this.#alive();
    this.#until = this.manager.sb.sched.monotonic() + this.manager.lease;
  }

  #alive(): void {
    if (this.#gone) throw errno('ESTALE');
  }

  /** @throws EBADF where it has not opened the file; ESTALE */
  #at(state: number): RemoteFile {
    this.#alive();
    const open = this.#files.get(state);
    if (open === undefined) throw errno('EBADF');
    return open;
  }

  /**
   * Open a file by its handle. @param flags O_* @param generation of the handle
   * @returns what the client calls this open file from now on
   * @throws ESTALE where it is no more; EAGAIN where a lease is to be waited for and O_NONBLOCK forbids; what vfs_open throws
   */
  async open(task: Task, ino: number, flags: number, generation?: number): Promise<number> {
    this.#alive();
    return await this.#working(task, async () => {
      const dentry = await dentry_of_ino(task, this.manager.sb, ino, generation);
      try {
        const file = await vfs_open(task, dentry, flags);
        this.#files.set(++this.#states, { file, pending: new Set() });
        return this.#states;
      } finally {
        await dput(task, dentry);
      }
    });
  }

  async #working<T>(task: Task, body: () => Promise<T>): Promise<T> {
    worksFor.set(task, this);
    try {
      return await body();
    } finally {
      worksFor.delete(task);
    }
  }

  #lock(file: File, { type, start, length }: RemoteRange, wish: LockWish): FileLock {
    const end = length === 0 ? OFFSET_MAX : start + length - 1;
    const fl_lmops = { ...managed[wish], lm_expire_lock: (task: Task) => this.manager.expire(task) };
    return { kind: 'posix', type, owner: this, pid: 0, file, start, end, wait: wish !== 'try', fl_lmops };
  }

  /**
   * Lock or, with F_UNLCK, unlock a part of a file that it has open.
   * @returns 'deferred' where it is called back
   * @throws EAGAIN with 'try' where it is not free; EDEADLK; EBADF ESTALE; EOPNOTSUPP with 'grant' of a filesystem that does not answer later
   */
  async lock(task: Task, state: number, range: RemoteRange, wish: LockWish = 'try'): Promise<LockOutcome> {
    const { file, pending } = this.#at(state);
    if (wish === 'grant' && file.f_op.lock === undefined) throw errno('EOPNOTSUPP');
    const lock = this.#lock(file, range, wish);
    pending.add(lock);
    let outcome: LockOutcome = 'granted';
    try {
      outcome = await vfs_lock_file(task, file, lock);
    } finally {
      if (outcome === 'granted') pending.delete(lock);
    }
    return outcome;
  }

  /** Whose lock is in the way of that one, as vfs_test_lock tells. @throws EBADF ESTALE */
  test(task: Task, state: number, range: RemoteRange): Awaitable<FileLock | undefined> {
    const { file } = this.#at(state);
    return vfs_test_lock(task, file, this.#lock(file, range, 'try'));
  }

  /**
   * Promise the client to tell it before somebody else opens the file: F_RDLCK to write, F_WRLCK at all; F_UNLCK gives the promise back (a delegation).
   * @throws EAGAIN where the file is open already; EBADF ESTALE
   */
  async delegate(task: Task, state: number, type: FileLockType): Promise<void> {
    const { file } = this.#at(state);
    const lease: FileLock = { ...this.#lock(file, { type, start: 0, length: 0 }, 'try'), kind: 'lease' };
    await vfs_setlease(task, file, { ...lease, fl_lmops: delegation_ops });
  }

  /** A deferred lock has come, or not. May not block. */
  answered(lock: FileLock, granted: boolean): void {
    this.#settled(lock);
    const ino = inoOf(lock);
    if (granted) this.manager.post(() => this.#callbacks.granted?.(ino));
  }

  /** What it waited for has changed. May not block. */
  unblocked(lock: FileLock): void {
    this.#settled(lock);
    const ino = inoOf(lock);
    this.manager.post(() => this.#callbacks.notify?.(ino));
  }

  #settled(lock: FileLock): void {
    for (const { pending } of this.#files.values()) pending.delete(lock);
  }

  /** May not block. */
  recalled(lease: FileLock): void {
    const ino = inoOf(lease);
    this.manager.post(() => this.#callbacks.recall?.(ino));
  }

  /** Close an open file: its delegation goes, and with the last of a file the client's locks on it (CLOSE). @throws EBADF ESTALE */
  close(task: Task, state: number): Promise<void> {
    this.#at(state);
    return this.#close(task, state);
  }

  async #close(task: Task, state: number): Promise<void> {
    const open = this.#files.get(state);
    if (open === undefined) return;
    this.#files.delete(state);
    const { file, pending } = open;
    for (const lock of pending) await vfs_cancel_lock(task, file, lock);
    if (![...this.#files.values()].some((other) => other.file.f_inode === file.f_inode)) {
      await vfs_lock_file(task, file, this.#lock(file, { type: 'F_UNLCK', start: 0, length: 0 }, 'try'));
    }
    await fput(task, file);
  }

  /** It is dropped, with all that it has. */
  async destroy(task: Task): Promise<void> {
    this.#gone = true;
    this.manager.forget(this);
    for (const state of [...this.#files.keys()]) await this.#close(task, state);
  }
}
