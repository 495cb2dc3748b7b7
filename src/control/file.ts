/** Files whose content is made when they are opened, and which take commands (fs/seq_file.c and what proc makes of it). */

import type { file_operations, inode_operations } from '../fs/operations.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { WaitQueue, wait_event } from '../sched/wait.js';
import { FASYNC, O_DIRECT } from '../uapi/fcntl.js';

/** Who may look: the owner of the mount, nobody else. */
export interface ControlOwner {
  readonly uid: number;
  readonly gid: number;
}

export interface ControlFile {
  readonly name: string;
  /** What is read from it, UTF-8: as it was when the file was opened. */
  show(task: Task): Awaitable<string>;
  /** Obey what was written, one write at a time. Absent: the file is read-only. @throws EINVAL for what means nothing */
  write?(task: Task, text: string): Awaitable<void>;
  /** Told of every request on an open file of it. */
  touched?(task: Task): void;
}

/** Who is in the middle of making the content of a file, or of obeying a command. */
export class InFlight {
  readonly #tasks = new Set<Task>();
  readonly #done = new WaitQueue();

  /** @throws what `body` throws */
  run<T>(task: Task, body: () => Awaitable<T>): Awaitable<T> {
    this.#tasks.add(task);
    return withCleanup(body, () => {
      this.#tasks.delete(task);
      this.#done.wake_all();
    });
  }

  /** End what a signal can end, and wait for all of it. */
  async abort(task: Task): Promise<void> {
    for (const each of this.#tasks) each.interrupt();
    await wait_event(task, this.#done, () => this.#tasks.size === 0, { what: 'control files in use' });
  }
}

/** The longest command, bytes. */
const MAX_COMMAND = 4096;
const NOTHING = Buffer.alloc(0);

/** What an open control file shows. */
class Content {
  readonly bytes: Buffer;

  constructor(text: string) {
    this.bytes = Buffer.from(text, 'utf8');
  }

  /** How long it is; the file's size is 0 always. */
  get fdinfo(): string {
    return `content-bytes:\t${this.bytes.length}\n`;
  }
}

/** Whether a caller is who may look, whatever the mount makes of the owner: one that maps identities may call anybody so. */
function mayUse({ cred }: Task, owner: ControlOwner): boolean {
  return cred.capable('CAP_DAC_OVERRIDE') || (owner.uid !== 0 && cred.uid === owner.uid);
}

/**
 * The file_operations of one control file.
 * @throws EACCES at open to who is neither root nor the owner
 */
export function controlFileOperations(control: ControlFile, owner: ControlOwner, inFlight: InFlight): file_operations {
  const { write } = control;
  const touched = (task: Task): void => control.touched?.(task);
  const operations: file_operations = {
    open: (task, _inode, file) => {
      if (!mayUse(task, owner)) throw errno('EACCES');
      touched(task);
      const shown = inFlight.run(task, () => control.show(task));
      return andThen(shown, (text) => {
        file.private_data = new Content(text);
      });
    },
    read: (task, { private_data: content }, count, pos) => {
      touched(task);
      return content instanceof Content ? content.bytes.subarray(pos, pos + count) : NOTHING;
    },
    check_flags: (flags) => {
      // There is no device behind it to go to, and nothing that anybody could be told of.
      if ((flags & (O_DIRECT | FASYNC)) !== 0) throw errno('EINVAL');
    },
    show_fdinfo: (_task, { private_data: content }) => (content instanceof Content ? content.fdinfo : ''),
    flush: touched,
    release: touched,
  };
  if (write === undefined) return operations;
  return {
    ...operations,
    write: (task, _file, bytes) => {
      touched(task);
      const { length } = bytes;
      if (length > MAX_COMMAND) throw errno('EINVAL', `${control.name}: a command of ${length} bytes`);
      return andThen(write.call(control, task, bytes.toString('utf8')), () => length);
    },
  };
}

/** Attributes of control files do not change; open(2) with O_TRUNC, as the shell's > does it, is let pass. */
export const control_file_inode_operations: inode_operations = {
  setattr: (_task, _dentry, attr) => {
    const asked = attr.mode ?? attr.uid ?? attr.gid;
    if (asked !== undefined && attr.force !== true) throw errno('EPERM');
  },
};
