/** A client that is far away, as a lock manager knows it: what it has open, what it has locked there, and what it asked for. */
import { type Awaitable, allInTurn } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { WaitQueue, wait_event } from '../../sched/wait.js';
import { dput } from '../dcache.js';
import { dentry_of_ino } from '../export.js';
import { type File, FMODE_READ, FMODE_WRITE } from '../file.js';
import { fput, get_file } from '../file-table.js';
import { vfs_cancel_lock, vfs_lock_file, vfs_test_lock } from '../locks.js';
import { vfs_open } from '../open.js';
import type { SuperBlock } from '../super-block.js';
import type { FileLock, FileLockType, LockOutcome } from './file-lock.js';
import { vfs_setlease } from './leases.js';
import { OFFSET_MAX } from './lock-list.js';
import { delegation_ops, type LockWish, managed, RemoteOwner, work_for } from './remote-owner.js';

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

/** A file that a client has open at the server. */
interface RemoteFile {
  readonly file: File;
  /** Requests that were deferred. */
  readonly pending: Set<FileLock>;
}

/** The server, as its clients need it. */
export interface LockServer {
  readonly sb: SuperBlock;
  /** For how long a client that says nothing is believed to be there, milliseconds. */
  readonly lease: number;
  /** Call a client back, soon. May not block. */
  post(callback: () => void): void;
  /** Whether a client may be dropped; then it will be (try_to_expire_client). May not block. */
  condemn(client: RemoteClient): boolean;
  /** Take everything from the clients that were condemned, but for those that were heard of since. */
  expire(task: Task): Promise<void>;
  /** A client is dropped. */
  forget(client: RemoteClient): void;
}

function inoOf({ file }: FileLock): number {
  return file?.f_inode.i_ino ?? 0;
}

export class RemoteClient extends RemoteOwner {
  readonly manager: LockServer;
  readonly #callbacks: ClientCallbacks;
  readonly #files = new Map<number, RemoteFile>();
  /** How many files it has opened so far. */
  #states = 0;
  #until: number;
  /** Who drops it. */
  #destroyer: Task | undefined;
  #destroyed = false;
  readonly #ended = new WaitQueue();

  constructor(manager: LockServer, callbacks: ClientCallbacks) {
    super();
    this.manager = manager;
    this.#callbacks = callbacks;
    this.#until = manager.sb.sched.monotonic() + manager.lease;
  }

  /** It has not been heard of for longer than its lease. It keeps what it has until that is in somebody's way (a courtesy client). */
  override get expired(): boolean {
    return this.manager.sb.sched.monotonic() >= this.#until;
  }

  /** It is still there (RENEW). @throws ESTALE where it was dropped: it must connect anew and has lost everything */
  renew(): void {
    this.#alive();
    this.#until = this.manager.sb.sched.monotonic() + this.manager.lease;
  }

  /** It was dropped, and nothing of it is left to take. */
  get destroyed(): boolean {
    return this.#destroyed;
  }

  #alive(): void {
    if (this.#destroyer !== undefined) throw errno('ESTALE');
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
    return await work_for(task, this, async () => {
      const dentry = await dentry_of_ino(task, this.manager.sb, ino, generation);
      try {
        const file = await vfs_open(task, dentry, flags);
        if (this.#destroyer !== undefined) {
          await fput(task, file);
          throw errno('ESTALE');
        }
        this.#files.set(++this.#states, { file, pending: new Set() });
        return this.#states;
      } finally {
        await dput(task, dentry);
      }
    });
  }

  /** Work with an open file: the client may close it, or be dropped, before that is done. @throws EBADF ESTALE then: it has no locks by it */
  async #using<T>(task: Task, state: number, body: (open: RemoteFile) => Awaitable<T>): Promise<T> {
    const open = this.#at(state);
    get_file(open.file);
    try {
      const result = await body(open);
      if (this.#files.get(state) === open) return result;
      await this.#unlock(task, open);
      throw errno(this.#destroyer === undefined ? 'EBADF' : 'ESTALE');
    } finally {
      await fput(task, open.file);
    }
  }

  /** @throws EINVAL for a part that begins before the file */
  #lock(file: File, { type, start, length }: RemoteRange, wish: LockWish): FileLock {
    if (![start, length].every((bytes) => Number.isSafeInteger(bytes) && bytes >= 0)) throw errno('EINVAL');
    const last = start + length - 1;
    const end = length === 0 || last > Number.MAX_SAFE_INTEGER ? OFFSET_MAX : last;
    const fl_lmops = { ...managed[wish], lm_expire_lock: (task: Task) => this.manager.expire(task) };
    return { kind: 'posix', type, owner: this, pid: 0, file, start, end, wait: wish !== 'try', fl_lmops };
  }

  /**
   * Lock or, with F_UNLCK, unlock a part of a file that it has open.
   * @returns 'deferred' where it is called back
   * @throws EAGAIN with 'try' where it is not free; EDEADLK; EINVAL; EBADF, also where the file is not open for what the lock protects; ESTALE; EOPNOTSUPP with
   * 'grant' of a filesystem that does not answer later
   */
  lock(task: Task, state: number, range: RemoteRange, wish: LockWish = 'try'): Promise<LockOutcome> {
    return this.#using(task, state, async ({ file, pending }) => {
      if (wish === 'grant' && file.f_op.lock === undefined) throw errno('EOPNOTSUPP');
      if (range.type === 'F_RDLCK' && (file.f_mode & FMODE_READ) === 0) throw errno('EBADF');
      if (range.type === 'F_WRLCK' && (file.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
      const lock = this.#lock(file, range, wish);
      pending.add(lock);
      let outcome: LockOutcome = 'granted';
      try {
        outcome = await vfs_lock_file(task, file, lock);
      } finally {
        if (outcome === 'granted') pending.delete(lock);
      }
      return outcome;
    });
  }

  /** Whose lock is in the way of that one, as vfs_test_lock tells. @throws EBADF ESTALE EINVAL */
  test(task: Task, state: number, range: RemoteRange): Promise<FileLock | undefined> {
    return this.#using(task, state, ({ file }) => vfs_test_lock(task, file, this.#lock(file, range, 'try')));
  }

  /**
   * Promise the client to tell it before somebody else opens the file: F_RDLCK to write, F_WRLCK at all; F_UNLCK gives the promise back (a delegation).
   * @throws EAGAIN where the file is open already; EBADF ESTALE
   */
  delegate(task: Task, state: number, type: FileLockType): Promise<void> {
    return this.#using(task, state, ({ file }) => {
      const lease: FileLock = { ...this.#lock(file, { type, start: 0, length: 0 }, 'try'), kind: 'lease', deleg: true };
      return vfs_setlease(task, file, { ...lease, fl_lmops: delegation_ops });
    });
  }

  override condemn(): boolean {
    return this.manager.condemn(this);
  }

  override answered(lock: FileLock, granted: boolean): void {
    this.#settled(lock);
    const ino = inoOf(lock);
    if (granted) this.manager.post(() => this.#callbacks.granted?.(ino));
  }

  override unblocked(lock: FileLock): void {
    this.#settled(lock);
    const ino = inoOf(lock);
    this.manager.post(() => this.#callbacks.notify?.(ino));
  }

  #settled(lock: FileLock): void {
    for (const { pending } of this.#files.values()) pending.delete(lock);
  }

  override recalled(lease: FileLock): void {
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
    try {
      await this.#unlock(task, open);
    } finally {
      await fput(task, open.file);
    }
  }

  /** What was asked for through a file that is closed is given up, and with the last of a file what is locked. */
  async #unlock(task: Task, { file, pending }: RemoteFile): Promise<void> {
    for (const lock of pending) await vfs_cancel_lock(task, file, lock);
    pending.clear();
    if ([...this.#files.values()].some((other) => other.file.f_inode === file.f_inode)) return;
    await vfs_lock_file(task, file, this.#lock(file, { type: 'F_UNLCK', start: 0, length: 0 }, 'try'));
  }

  /** It is dropped, with all that it has; where another task does that already, once that is done. @throws EIO: it is dropped all the same */
  async destroy(task: Task): Promise<void> {
    const { manager } = this;
    const destroyer = this.#destroyer;
    if (destroyer !== undefined) {
      const options = { what: 'the end of a client', blockers: () => [destroyer] };
      await wait_event(task, this.#ended, () => this.#destroyed, options);
      return;
    }
    this.#destroyer = task;
    try {
      await allInTurn([...this.#files.keys()].map((state) => () => this.#close(task, state)));
    } finally {
      this.#destroyed = true;
      manager.forget(this);
      this.#ended.wake_all();
    }
  }
}
