/** Having an image for oneself: its lock, of a block device the device, and the locks of what is behind it. */

import { accessSync, closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { schedule_timeout } from '../sched/wait.js';
import { fileBehind } from './host-disk.js';
import { describeHolder, describeUse, mountOf } from './image-holder.js';
import { tryLockFile } from './libc.js';

/** Milliseconds for which an image that is locked, but mounted nowhere, is waited for: its daemon is writing its last bytes. */
const PATIENCE = 10_000;

const LOOK_AGAIN = 20;

/** An image that cannot be used: one line that names it, and the remedy. */
export class ImageError extends Error {
  /** What is in the way of writing it is not in the way of reading it. */
  readonly readable: boolean;

  constructor(message: string, readable = false) {
    super(message);
    this.readable = readable;
  }
}

/** The errno of an error of Node's. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

/** Open an image. Of other things the opening alone may wait (a pipe), or do something (a tape). @throws ImageError */
export function open(path: string, readOnly: boolean): number {
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) throw new ImageError(`${path} is a directory, not an image`);
    if (!stat.isFile() && !stat.isBlockDevice()) throw new ImageError(`${path} is neither a file nor a block device`);
    return openSync(path, readOnly ? constants.O_RDONLY : constants.O_RDWR);
  } catch (error) {
    throw error instanceof ImageError ? error : failed(codeOf(error), path, readOnly);
  }
}

function failed(code: string, path: string, readOnly: boolean): ImageError {
  return new ImageError(explain(code, path, readOnly), !readOnly && mayBeRead(path));
}

function mayBeRead(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function explain(code: string, path: string, readOnly: boolean): string {
  switch (code) {
    case 'ENOENT':
      return `${path}: there is no such image; make one with: latchfs mkfs ${path} --size 1G`;
    case 'ENOTDIR':
      return `${path}: there is no such image, because a part of its path is not a directory`;
    case 'EISDIR':
      return `${path} is a directory, not an image`;
    case 'EACCES':
    case 'EPERM':
      return `${path}: no permission to ${readOnly ? 'read' : 'write'} it`;
    case 'EROFS':
      return `${path} is on a read-only filesystem`;
    case 'ETXTBSY':
      return `${path} is being executed or swapped to: it cannot be written`;
    case 'EBUSY':
      return `${path} is in use by the kernel: unmount it first`;
    default:
      return `${path} cannot be opened: ${code}`;
  }
}

/**
 * Take what another may have who is about to end, waiting for it a while.
 * @param take says who has it, or nothing; throws where that will not end
 * @throws ImageError
 */
async function awaitFree(task: Task, path: string, patience: number, take: () => string | undefined): Promise<void> {
  const end = task.sched.monotonic() + patience;
  for (let holder = take(); holder !== undefined; holder = take()) {
    if (mountOf(path) !== undefined || task.sched.monotonic() >= end) throw new ImageError(holder);
    await schedule_timeout(task, LOOK_AGAIN, `the lock of ${path}`);
  }
}

/**
 * Open a block device for this process alone (O_EXCL, bd_prepare_to_claim). Unlike a lock of its node this holds for its other nodes, and against the
 * kernel's own mounts, swap, and devices made of it.
 * @returns undefined where somebody has it
 */
function claim(path: string, readOnly: boolean): number | undefined {
  try {
    return openSync(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_EXCL);
  } catch (error) {
    if (codeOf(error) === 'EBUSY') return undefined;
    throw failed(codeOf(error), path, readOnly);
  }
}

/**
 * Lock the file behind a loop device, and what is behind that: somebody may have the same image by the file's own name, or by another loop device.
 * @returns what must stay open as long as the locks shall last
 * @throws ImageError where another has it
 */
async function lockBehind(task: Task, fd: number, patience: number): Promise<number[]> {
  const held: number[] = [];
  try {
    for (let path = fileBehind(fd); path !== undefined; path = fileBehind(held.at(-1) ?? fd)) {
      let file: number;
      try {
        file = openSync(path, constants.O_RDONLY);
      } catch {
        // Its name is gone, or is another namespace's: nobody else finds it by that either.
        return held;
      }
      held.push(file);
      const name = path;
      await awaitFree(task, name, patience, () =>
        tryLockFile(file) ? undefined : describeHolder(name, fstatSync(file)),
      );
    }
    return held;
  } catch (error) {
    for (const file of held) closeSync(file);
    throw error;
  }
}

/** What one mount has of an image as long as it has it. */
export class ImageHold {
  readonly #fd: number;
  readonly #path: string;
  readonly #isFile: boolean;
  readonly #readOnly: boolean;
  readonly #lent: boolean;
  readonly #through: (fd: number) => void;
  /** The block device, opened for this process alone. */
  #own: number | undefined;
  #behind: number[] = [];
  #closed = false;

  /**
   * @param fd the opened image, which `release` closes
   * @param lent a block device is only looked at
   * @param through is told of a descriptor that nobody else can have
   */
  constructor(fd: number, path: string, readOnly: boolean, lent: boolean, through: (fd: number) => void) {
    this.#fd = fd;
    this.#path = path;
    this.#isFile = fstatSync(fd).isFile();
    this.#readOnly = readOnly;
    this.#lent = lent;
    this.#through = through;
  }

  /**
   * Take all locks, waiting for who is about to end.
   * @param patience milliseconds
   * @throws ImageError where somebody has it, and then it is released; ENXIO after that
   */
  async take(task: Task, patience: number = PATIENCE): Promise<void> {
    if (this.#closed) throw errno('ENXIO', `${this.#path} was closed`);
    try {
      await awaitFree(task, this.#path, patience, () => this.#holder());
      this.#behind = await lockBehind(task, this.#fd, patience);
    } catch (error) {
      this.release();
      throw error instanceof Errno ? new ImageError(`${this.#path} cannot be locked: ${error.message}`) : error;
    }
  }

  /** Try once. @returns who has it, or nothing where it is had @throws ImageError where that will not end by itself */
  #holder(): string | undefined {
    if (!tryLockFile(this.#fd)) return describeHolder(this.#path, fstatSync(this.#fd));
    if (this.#isFile) return undefined;
    this.#own ??= claim(this.#path, this.#readOnly);
    if (this.#own !== undefined) {
      if (this.#lent) {
        closeSync(this.#own);
        this.#own = undefined;
      } else this.#through(this.#own);
      return undefined;
    }
    // What can be seen is not about to end by itself.
    const use = describeUse(this.#path);
    if (use !== undefined) throw new ImageError(use);
    return `${this.#path} is in use, under this name or another, or a part of it is: release it there first`;
  }

  /** Close all that it has opened: the locks go with it. */
  release(): void {
    if (!this.#closed) for (const fd of [this.#fd, this.#own, ...this.#behind]) if (fd !== undefined) closeSync(fd);
    this.#closed = true;
  }
}
