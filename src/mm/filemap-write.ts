/** Writing through the page cache (generic_perform_write in mm/filemap.c): write_begin, copy, write_end, page after page. */
import { address_space_operations as rows } from '../contract/address-space.js';
import { call, type Participants, type ParticipantsOf } from '../locking/context.js';
import { RepeatedCall } from '../locking/repeated-call.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
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
  if (iter.count === 0) return 0;
  const { write_begin, write_end } = iocb.ki_filp.f_mapping.a_ops;
  if (write_begin === undefined || write_end === undefined) throw errno('EINVAL', 'the file cannot be written to');
  return new BufferedWrite(task, iocb, iter, write_begin, write_end).run();
}

/** Who takes part in write_end: the same object for all pages of a write. */
type Ending = { readonly inode: AddressSpace['host']['i_rwsem']; folio: Folio['lock'] | undefined };

/** The lock with which write_begin has returned. */
const lockOf = ({ folio }: WriteBegun): Folio['lock'] => folio.lock;

/** One write under way. What is the same for all of its pages is made once. */
class BufferedWrite {
  readonly #task: Task;
  readonly #iocb: Kiocb;
  readonly #iter: IovIter;
  readonly #mapping: AddressSpace;
  readonly #host: ParticipantsOf<typeof rows.write_begin>;
  readonly #ending: Ending;
  /** What write_begin has returned with: its folio, locked. */
  readonly #locked: (begun: WriteBegun) => Participants;
  readonly #begin: () => Awaitable<WriteBegun>;
  readonly #end: () => Awaitable<number>;
  /** The two calls, where the write has more than one page. */
  readonly #begins: RepeatedCall<WriteBegun> | undefined;
  readonly #ends: RepeatedCall<number> | undefined;
  /** The present page: bytes of the write that lie in it, bytes that were copied, and what write_begin has said. */
  #length = 0;
  #copied = 0;
  #begun: WriteBegun | undefined;

  constructor(
    task: Task,
    iocb: Kiocb,
    iter: IovIter,
    write_begin: NonNullable<AOps['write_begin']>,
    write_end: NonNullable<AOps['write_end']>,
  ) {
    const { ki_filp: file } = iocb;
    const { f_mapping: mapping } = file;
    this.#task = task;
    this.#iocb = iocb;
    this.#iter = iter;
    this.#mapping = mapping;
    this.#host = { inode: mapping.host.i_rwsem };
    const ending: Ending = { inode: mapping.host.i_rwsem, folio: undefined };
    this.#ending = ending;
    // Made as constants first: V8 allocates a function that is assigned to a property in the old generation, where it keeps alive whatever the write knew
    // until the next full collection.
    const locked = (begun: WriteBegun): Participants => {
      ending.folio = begun.folio.lock;
      return ending;
    };
    const begin = (): Awaitable<WriteBegun> => write_begin(task, file, mapping, iocb.ki_pos, this.#length);
    const end = (): Awaitable<number> => {
      const begun = this.#begun;
      if (begun === undefined) throw errno('EIO', 'write_end without write_begin');
      return write_end(task, file, mapping, iocb.ki_pos, this.#length, this.#copied, begun);
    };
    this.#locked = locked;
    this.#begin = begin;
    this.#end = end;
    if (iter.count <= PAGE_SIZE) return;
    this.#begins = new RepeatedCall(task, rows.write_begin, this.#host, this.#begin, lockOf);
    this.#ends = new RepeatedCall(task, rows.write_end, ending, this.#end);
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
    return throttled === undefined ? this.#page() : throttled.then(() => this.#page());
  }

  #page(): Awaitable<number> {
    if (this.#task.killed) throw errno('EINTR');
    this.#length = Math.min(PAGE_SIZE - (this.#iocb.ki_pos & (PAGE_SIZE - 1)), this.#iter.count);
    const begun =
      this.#begins === undefined
        ? call(this.#task, rows.write_begin, this.#host, this.#begin, this.#locked)
        : this.#begins.run();
    return begun instanceof Promise ? begun.then((b) => this.#copyAndEnd(b)) : this.#copyAndEnd(begun);
  }

  #copyAndEnd(begun: WriteBegun): Awaitable<number> {
    const iter = this.#iter;
    const { folio } = begun;
    if (!folio_locked_by(this.#task, folio)) {
      // Reported already: what is written to the page must not be torn all the same.
      return andThen(folio_lock(this.#task, folio), () => this.#copyAndEnd(begun));
    }
    const copied = iter.copy_from_iter(folio.data, this.#iocb.ki_pos & (PAGE_SIZE - 1), this.#length);
    folio.referenced = true;
    this.#begun = begun;
    this.#copied = copied;
    let accepted: Awaitable<number>;
    try {
      this.#ending.folio = folio.lock;
      accepted =
        this.#ends === undefined
          ? call(this.#task, rows.write_end, this.#ending, this.#end)
          : this.#ends.run(folio.lock);
    } catch (error) {
      iter.revert(copied);
      throw error;
    }
    if (!(accepted instanceof Promise)) return this.#advance(copied, accepted);
    return accepted.then(
      (n) => this.#advance(copied, n),
      (error: unknown) => {
        iter.revert(copied);
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
