/**
 * What the kernel has forgotten may be deleted now, and deleting much takes several turns, in which other requests are served. On other filesystems unlink(2) and close(2)
 * return when that is done: so whoever asks how much room there is, or finds none, waits for what was forgotten before.
 */
import type { SuperBlock } from '../../fs/super-block.js';
import { SB_UNFROZEN } from '../../fs/super-writers.js';
import { isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { sleep_on_timeout, WaitQueue } from '../../sched/wait.js';
import { Opcode } from '../protocol/opcodes.js';

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

  /** Whether a request is to wait for what was forgotten before it is served. */
  concerns(opcode: number): boolean {
    return this.#underWay.size > 0 && TELL_OF_ROOM.has(opcode);
  }

  /** Whether a request that has failed may find room when what was forgotten is gone. */
  mayHelp(error: unknown): boolean {
    return this.#underWay.size > 0 && (isErrno(error, 'ENOSPC') || isErrno(error, 'EDQUOT'));
  }

  /** Wait for those that are under way now; not while the filesystem is frozen, for they wait for the thaw themselves. */
  async wait(task: Task, { s_writers }: SuperBlock): Promise<void> {
    const before = [...this.#underWay];
    const left = (): boolean => before.some((done) => this.#underWay.has(done));
    while (left() && s_writers.frozen === SB_UNFROZEN) {
      await sleep_on_timeout(task, this.#ends, LOOK_AGAIN, { what: 'what was removed before' });
    }
  }
}
