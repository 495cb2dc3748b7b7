/**
 * Files and directories that the kernel uses without having opened them: where OPEN or OPENDIR is answered with ENOSYS, requests carry no handle, and the
 * file is found by its node and by what is done with it.
 */

import { dput } from '../fs/dcache.js';
import type { File } from '../fs/file.js';
import { fput } from '../fs/file-table.js';
import { vfs_open } from '../fs/open.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { O_APPEND, O_NOATIME, O_RDWR } from '../uapi/fcntl.js';
import type { Nodes } from './nodes.js';

/** Files kept open for the next request. */
const KEPT = 256;

/** What a request does with the file; quiet: read it without moving its atime. */
export type Use = 'read' | 'quiet' | 'write' | 'append';

const FLAGS: Readonly<Record<Use, number>> = { read: 0, quiet: 0, write: O_RDWR, append: O_RDWR | O_APPEND };

const USES: readonly Use[] = ['read', 'quiet', 'write', 'append'];

export class AnonymousFiles {
  readonly #nodes: Nodes;
  /** By node and use, least recently used first. */
  readonly #files = new Map<string, File>();

  constructor(nodes: Nodes) {
    this.#nodes = nodes;
  }

  /** The file of a node, with a reference: fput it. @throws as vfs_open; ESTALE */
  async get(task: Task, nodeid: number, use: Use): Promise<File> {
    const key = `${nodeid} ${use}`;
    let file = this.#files.get(key);
    if (file === undefined) {
      const dentry = await this.#nodes.dentry(task, nodeid);
      try {
        file = await vfs_open(task, dentry, FLAGS[use]);
        // Whether the caller may was asked when it opened the file; whoever reads now may be another.
        if (use === 'quiet') file.f_flags |= O_NOATIME;
      } finally {
        await dput(task, dentry);
      }
      const other = this.#files.get(key);
      if (other !== undefined) {
        await fput(task, file);
        file = other;
      }
    }
    file.f_count++;
    this.#files.delete(key);
    this.#files.set(key, file);
    if (this.#files.size > KEPT) await this.#drop(task, this.#files.keys().next().value);
    return file;
  }

  /** The kernel has forgotten a node. */
  forget(task: Task, nodeid: number): Awaitable<void> {
    if (this.#files.size === 0) return undefined;
    const keys = USES.map((use) => `${nodeid} ${use}`).filter((key) => this.#files.has(key));
    return keys.length === 0 ? undefined : this.#dropAll(task, keys);
  }

  async closeAll(task: Task): Promise<void> {
    await this.#dropAll(task, [...this.#files.keys()]);
  }

  async #dropAll(task: Task, keys: readonly string[]): Promise<void> {
    for (const key of keys) await this.#drop(task, key);
  }

  async #drop(task: Task, key: string | undefined): Promise<void> {
    const file = key === undefined ? undefined : this.#files.get(key);
    if (key === undefined || file === undefined) return;
    this.#files.delete(key);
    await fput(task, file);
  }
}
