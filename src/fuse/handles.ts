/** Open files by the handle that the kernel knows them by. */
import type { File } from '../fs/file.js';
import { fput } from '../fs/file-table.js';
import { locks_remove_owners } from '../fs/locks.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';

export class Handles {
  readonly #files: (File | undefined)[] = [undefined];
  readonly #free: number[] = [];

  /** Give an open file a handle; never 0. */
  add(file: File): number {
    const fh = this.#free.pop() ?? this.#files.length;
    this.#files[fh] = file;
    return fh;
  }

  /** @throws EBADF for a handle that is not open */
  get(fh: number): File {
    const file = this.#files[fh];
    if (file === undefined) throw errno('EBADF', `handle ${fh}`);
    return file;
  }

  find(fh: number): File | undefined {
    return this.#files[fh];
  }

  /** Forget a handle. @throws EBADF */
  remove(fh: number): File {
    const file = this.get(fh);
    this.#files[fh] = undefined;
    this.#free.push(fh);
    return file;
  }

  /** Close whatever is open: the connection is gone. */
  async closeAll(task: Task): Promise<void> {
    for (const [fh, file] of this.#files.entries()) {
      if (file === undefined) continue;
      this.remove(fh);
      await locks_remove_owners(task, file);
      await fput(task, file);
    }
  }
}
