/**
 * What the kernel has forgotten may be deleted now, and deleting much takes several turns, in which other requests are served. On other filesystems unlink(2) and close(2)
 * return when that is done: so whoever asks how much room there is, or finds none, waits for what was forgotten before.
 */
import type { SuperBlock } from '../../fs/super-block.js';
import { SB_UNFROZEN } from '../../fs/super-writers.js';
import { type Awaitable, orElse } from '../../sched/awaitable.js';
import { isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { sleep_on_timeout, WaitQueue } from '../../sched/wait.js';
import type { Message } from '../protocol/message.js';
import { Opcode } from '../protocol/opcodes.js';
import type { RequestHeader } from '../protocol/requests.js';
import type { Session } from '../session.js';
import type { OpHandler } from './table.js';

/** Requests that tell of room, or have it brought to the device or given back: STATFS, sync(2), FITRIM. */
const TELL_OF_ROOM: ReadonlySet<number> = new Set([Opcode.STATFS, Opcode.SYNCFS, Opcode.IOCTL]);

/** Milliseconds between two looks at whether a freeze has come in between. */
const LOOK_AGAIN = 200;

export class Forgetting {
  readonly #underWay = new Set<Promise<void>>();
  readonly #ends = new WaitQueue();

  /** A FORGET has to wait. @param done does not reject */
  add(done: Promise<void>): void {
    this.#underWay.add(done);
    void done.then(() => {
      this.#underWay.delete(done);
      this.#ends.wake_all();
    });
  }

  /** Serve a request: after what was forgotten before, if it tells of room; and once more after that, if it finds none. */
  serve(s: Session, handler: OpHandler, task: Task, header: RequestHeader, message: Message): Awaitable<void> {
    return orElse(Forgetting.#serveOnce, Forgetting.#serveAgain, this, s, handler, task, header, message);
  }

  static #serveOnce(
    forgetting: Forgetting,
    s: Session,
    handler: OpHandler,
    task: Task,
    header: RequestHeader,
    message: Message,
  ): Awaitable<void> {
    const waits = forgetting.#underWay.size > 0 && TELL_OF_ROOM.has(header.opcode);
    return waits ? forgetting.#serveLater(s, handler, task, header, message) : handler(s, task, header, message);
  }

  static #serveAgain(
    error: unknown,
    forgetting: Forgetting,
    s: Session,
    handler: OpHandler,
    task: Task,
    header: RequestHeader,
    message: Message,
  ): Promise<void> {
    if (forgetting.#underWay.size === 0 || !(isErrno(error, 'ENOSPC') || isErrno(error, 'EDQUOT'))) throw error;
    return forgetting.#serveLater(s, handler, task, header, message);
  }

  async #serveLater(
    s: Session,
    handler: OpHandler,
    task: Task,
    header: RequestHeader,
    message: Message,
  ): Promise<void> {
    await this.#wait(task, s.sb);
    await handler(s, task, header, message);
  }

  /** Wait for those that are under way now; not while the filesystem is frozen, for they wait for the thaw themselves. */
  async #wait(task: Task, { s_writers }: SuperBlock): Promise<void> {
    const before = [...this.#underWay];
    const left = (): boolean => before.some((done) => this.#underWay.has(done));
    while (left() && s_writers.frozen === SB_UNFROZEN) {
      await sleep_on_timeout(task, this.#ends, LOOK_AGAIN, { what: 'what was removed before' });
    }
  }
}
