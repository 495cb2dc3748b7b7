/** Writing through the page cache (generic_perform_write in mm/filemap.c): write_begin, copy, write_end, page after page. */
import { address_space_operations as rows } from '../contract/address-space.js';
import { invoke, invoke_telling, type LockRef, type Participants, type ParticipantsOf } from '../locking/context.js';
import { RepeatedCall } from '../locking/repeated-call.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import type { AddressSpace } from './address-space.js';
import { balance_dirty_pages_ratelimited } from './dirty-balance.js';
import { type Folio, PAGE_SIZE } from './folio.js';
import { folio_lock, folio_locked_by } from './folio-state.js';
import type { IovIter } from './iov-iter.js';
import type { address_space_operations as AOps, Kiocb, WriteBegun } from './operations.js';

/** How often write_end may accept nothing of what was copied before the write fails. */
const MAX_REFUSALS = 3;

/**
 * Write what `iter` has at iocb.ki_pos into the page cache, and advance the position (generic_perform_write). i_rwsem is held
 * exclusively; limits (EFBIG, s_maxbytes, append) are the caller's. At once, without a promise, while no step has to wait.
 * Writers wait here when too much is dirty.
 *
 * @returns bytes written; fewer than asked for where an error came after some
 * @throws what write_begin and write_end throw, where nothing was written; EINVAL where the file has neither
 */
export function generic_perform_write(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  // The memory of the caller may have to be faulted in.
  if (task.atomic > 0) might_sleep(task, 'writing through the cache');
  if (iter.count === 0) return 0;
  const { write_begin, write_end } = iocb.ki_filp.f_mapping.a_ops;
  if (write_begin === undefined || write_end === undefined) throw errno('EINVAL', 'the file cannot be written to');
  return new BufferedWrite(task, iocb, iter, write_begin, write_end).run();
}

type WriteBegin = NonNullable<AOps['write_begin']>;
type WriteEnd = NonNullable<AOps['write_end']>;

/** Who takes part in write_end: the same object for all pages of a write. */
type Ending = { readonly inode: AddressSpace['host']['i_rwsem']; folio: Folio['lock'] | undefined };

/** The lock with which write_begin has returned. */
const withLock = ({ folio }: WriteBegun): Participants => ({ folio: folio.lock });

/** One write under way. What is the same for all of its pages is made once. */
class BufferedWrite {
  readonly #task: Task;
  readonly #iocb: Kiocb;
  readonly #iter: IovIter;
  readonly #mapping: AddressSpace;
  readonly #write_begin: WriteBegin;
  readonly #write_end: WriteEnd;
  readonly #host: ParticipantsOf<typeof rows.write_begin>;
  readonly #ending: Ending;
  /** The two calls, where the write has more than one page. */
  #begins: Begins | undefined;
  #ends: Ends | undefined;
  /** The present page: bytes of the write that lie in it, bytes that were copied, and what write_begin has said. */
  #length = 0;
  #copied = 0;
  #begun: WriteBegun | undefined;

  constructor(task: Task, iocb: Kiocb, iter: IovIter, write_begin: WriteBegin, write_end: WriteEnd) {
    this.#task = task;
    this.#iocb = iocb;
    this.#iter = iter;
    this.#mapping = iocb.ki_filp.f_mapping;
    this.#write_begin = write_begin;
    this.#write_end = write_end;
    const { i_rwsem } = this.#mapping.host;
    this.#host = { inode: i_rwsem };
    this.#ending = { inode: i_rwsem, folio: undefined };
    if (iter.count > PAGE_SIZE) {
      this.#begins = new Begins(task, this, this.#host, write_begin);
      this.#ends = new Ends(task, this, this.#ending, write_end);
    }
  }

  /** Call write_begin for the present page. */
  begin(write_begin: WriteBegin): Awaitable<WriteBegun> {
    return write_begin(this.#task, this.#iocb.ki_filp, this.#mapping, this.#iocb.ki_pos, this.#length);
  }

  /** Call write_end for the present page. */
  end(write_end: WriteEnd): Awaitable<number> {
    const { ki_filp: file, ki_pos: pos } = this.#iocb;
    if (this.#begun === undefined) throw errno('EIO', 'write_end without write_begin');
    return write_end(this.#task, file, this.#mapping, pos, this.#length, this.#copied, this.#begun);
  }

  run(): Awaitable<number> {
    const iter = this.#iter;
    let written = 0;
    try {
      while (iter.count > 0) {
        const n = this.#chunk();
        if (n instanceof Promise) return this.#goOn(written, n);
        // Nothing accepted: the slow path knows how often to try.
        if (n === 0) return this.#goOn(written, Promise.resolve(0));
        written += n;
      }
    } catch (error) {
      if (written === 0) throw error;
    }
    return written;
  }

  async #goOn(already: number, pending: Promise<number>): Promise<number> {
    let written = already;
    let refusals = 0;
    try {
      for (let chunk: Awaitable<number> = pending; ; chunk = this.#chunk()) {
        const n = chunk instanceof Promise ? await chunk : chunk;
        written += n;
        refusals = n === 0 ? refusals + 1 : 0;
        if (refusals === MAX_REFUSALS) throw errno('EIO', 'write_end accepts nothing');
        if (this.#iter.count === 0) break;
      }
    } catch (error) {
      if (written === 0) throw error;
    }
    return written;
  }

  /** Write the part of the rest that lies in one page. @returns bytes accepted @throws EINTR where the process is being killed: what was written so far counts */
  #chunk(): Awaitable<number> {
    const throttled = balance_dirty_pages_ratelimited(this.#task, this.#mapping);
    return throttled === undefined ? this.#page() : this.#pageAfter(throttled);
  }

  #pageAfter(throttled: Promise<void>): Promise<number> {
    return throttled.then(() => this.#page());
  }

  #page(): Awaitable<number> {
    if (this.#task.killed) throw errno('EINTR');
    this.#length = Math.min(PAGE_SIZE - (this.#iocb.ki_pos & (PAGE_SIZE - 1)), this.#iter.count);
    const begun = this.#begins === undefined ? this.#beginOne() : this.#begins.run();
    return begun instanceof Promise ? this.#endLater(begun) : this.#copyAndEnd(begun);
  }

  #endLater(begun: Promise<WriteBegun>): Promise<number> {
    return begun.then((b) => this.#copyAndEnd(b));
  }

  #beginOne(): Awaitable<WriteBegun> {
    const { ki_filp: file, ki_pos: pos } = this.#iocb;
    const [task, mapping, length] = [this.#task, this.#mapping, this.#length];
    const write_begin = this.#write_begin;
    return invoke_telling(task, rows.write_begin, this.#host, withLock, write_begin, file, mapping, pos, length);
  }

  #endOne(begun: WriteBegun): Awaitable<number> {
    const { ki_filp: file, ki_pos: pos } = this.#iocb;
    const write_end = this.#write_end;
    return invoke(
      this.#task,
      rows.write_end,
      this.#ending,
      write_end,
      file,
      this.#mapping,
      pos,
      this.#length,
      this.#copied,
      begun,
    );
  }

  #copyAndEnd(begun: WriteBegun): Awaitable<number> {
    const iter = this.#iter;
    const { folio } = begun;
    if (!folio_locked_by(this.#task, folio)) {
      // Reported already: what is written to the page must not be torn all the same.
      return this.#lockAndEnd(begun);
    }
    const copied = iter.copy_from_iter(folio.data, this.#iocb.ki_pos & (PAGE_SIZE - 1), this.#length);
    folio.referenced = true;
    this.#begun = begun;
    this.#copied = copied;
    let accepted: Awaitable<number>;
    try {
      this.#ending.folio = folio.lock;
      accepted = this.#ends === undefined ? this.#endOne(begun) : this.#ends.run(folio.lock);
    } catch (error) {
      iter.revert(copied);
      throw error;
    }
    if (!(accepted instanceof Promise)) return this.#advance(copied, accepted);
    return this.#advanceLater(accepted, copied);
  }

  #lockAndEnd(begun: WriteBegun): Awaitable<number> {
    return andThen(folio_lock(this.#task, begun.folio), () => this.#copyAndEnd(begun));
  }

  #advanceLater(accepted: Promise<number>, copied: number): Promise<number> {
    return accepted.then(
      (n) => this.#advance(copied, n),
      (error: unknown) => {
        this.#iter.revert(copied);
        throw error;
      },
    );
  }

  #advance(copied: number, accepted: number): number {
    if (accepted < copied) this.#iter.revert(copied - accepted);
    this.#iocb.ki_pos += accepted;
    return accepted;
  }
}

/** write_begin, page after page. */
class Begins extends RepeatedCall<WriteBegin, WriteBegun> {
  readonly #write: BufferedWrite;

  constructor(task: Task, write: BufferedWrite, participants: Participants, write_begin: WriteBegin) {
    super(task, rows.write_begin, participants, write_begin);
    this.#write = write;
  }

  protected override operation(write_begin: WriteBegin): Awaitable<WriteBegun> {
    return this.#write.begin(write_begin);
  }

  protected override broughtBy({ folio }: WriteBegun): LockRef {
    return folio.lock;
  }
}

/** write_end, page after page. */
class Ends extends RepeatedCall<WriteEnd, number> {
  readonly #write: BufferedWrite;

  constructor(task: Task, write: BufferedWrite, participants: Participants, write_end: WriteEnd) {
    super(task, rows.write_end, participants, write_end);
    this.#write = write;
  }

  protected override operation(write_end: WriteEnd): Awaitable<number> {
    return this.#write.end(write_end);
  }

  protected override broughtBy(): undefined {
    return undefined;
  }
}
