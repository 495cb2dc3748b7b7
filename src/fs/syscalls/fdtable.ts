/** The descriptors of a process (fs/file.c). */
import { errno } from '../../sched/errno.js';
import { type File, FMODE_PATH } from '../file.js';

/** How many descriptors a process may have by default (RLIMIT_NOFILE). */
export const NOFILE = 1024;

/** One descriptor: the open file that it names, and its own flag. */
interface Descriptor {
  readonly file: File;
  close_on_exec: boolean;
}

export class FdTable {
  readonly #descriptors: (Descriptor | undefined)[] = [];
  /** RLIMIT_NOFILE. */
  limit = NOFILE;

  /** The open file of a descriptor (fdget). @throws EBADF, also for one of O_PATH */
  get(fd: number): File {
    const { file } = this.#at(fd);
    if ((file.f_mode & FMODE_PATH) !== 0) throw errno('EBADF');
    return file;
  }

  /** As get, also of O_PATH (fdget_raw). @throws EBADF */
  getAny(fd: number): File {
    return this.#at(fd).file;
  }

  #at(fd: number): Descriptor {
    const found = this.#descriptors[fd];
    if (found === undefined) throw errno('EBADF');
    return found;
  }

  /**
   * The lowest free descriptor for an open file, whose reference it takes over (get_unused_fd_flags, fd_install).
   * @param from the lowest that will do
   * @throws EMFILE; EINVAL where `from` is beyond the limit
   */
  install(file: File, close_on_exec: boolean, from = 0): number {
    if (from >= this.limit) throw errno('EINVAL');
    let fd = from;
    while (this.#descriptors[fd] !== undefined) fd++;
    if (fd >= this.limit) throw errno('EMFILE');
    this.#descriptors[fd] = { file, close_on_exec };
    return fd;
  }

  /** Check that another descriptor can be had, before the file is opened. @throws EMFILE */
  reserve(): void {
    for (let fd = 0; fd < this.limit; fd++) if (this.#descriptors[fd] === undefined) return;
    throw errno('EMFILE');
  }

  /** Put a file at a descriptor (do_dup2). @returns what was there, with its reference @throws EBADF beyond the limit */
  replace(fd: number, file: File, close_on_exec: boolean): File | undefined {
    if (fd < 0 || fd >= this.limit) throw errno('EBADF');
    const old = this.#descriptors[fd]?.file;
    this.#descriptors[fd] = { file, close_on_exec };
    return old;
  }

  /** Take a descriptor away (file_close_fd). @returns its file, with the reference @throws EBADF */
  remove(fd: number): File {
    const { file } = this.#at(fd);
    this.#descriptors[fd] = undefined;
    return file;
  }

  /** FD_CLOEXEC of a descriptor. @throws EBADF */
  getCloseOnExec(fd: number): boolean {
    return this.#at(fd).close_on_exec;
  }

  setCloseOnExec(fd: number, value: boolean): void {
    this.#at(fd).close_on_exec = value;
  }

  /** Every descriptor in use, in order. */
  all(): number[] {
    return [...this.#descriptors.keys()].filter((fd) => this.#descriptors[fd] !== undefined);
  }

  /** For fork: the same open files, without new references (dup_fd); the caller takes them. */
  copy(): FdTable {
    const copy = new FdTable();
    copy.limit = this.limit;
    for (const fd of this.all()) copy.#descriptors[fd] = { ...this.#at(fd) };
    return copy;
  }
}
