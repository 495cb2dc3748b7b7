/** A latch filesystem on a device that can crash, and a process that works on it through the VFS. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockDevice } from '../../src/block/block-device.js';
import { notify_change } from '../../src/fs/attr.js';
import { dput } from '../../src/fs/dcache.js';
import type { Dentry } from '../../src/fs/dentry.js';
import { vfs_fallocate } from '../../src/fs/fallocate.js';
import type { File } from '../../src/fs/file.js';
import { fput } from '../../src/fs/file-table.js';
import {
  do_create,
  do_link,
  do_mkdir,
  do_rename,
  do_rmdir,
  do_symlink,
  do_unlink,
  lookup_one,
} from '../../src/fs/namei.js';
import { vfs_open } from '../../src/fs/open.js';
import { vfs_iter_read, vfs_iter_write } from '../../src/fs/read-write.js';
import { iterate_dir } from '../../src/fs/readdir.js';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import type { Machine as FsMachine, SuperBlock } from '../../src/fs/super-block.js';
import { sync_filesystem, vfs_fsync_range } from '../../src/fs/sync.js';
import { vfs_setxattr } from '../../src/fs/xattr.js';
import { type FsckResult, fsck, type Repair } from '../../src/latch/fsck/fsck.js';
import { type MkfsOptions, mkfs } from '../../src/latch/mkfs.js';
import { latch_fs_type } from '../../src/latch/super.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { MemoryControl } from '../../src/mm/memory.js';
import type { Awaitable } from '../../src/sched/awaitable.js';
import type { Cred, Task } from '../../src/sched/task.js';
import { O_RDWR } from '../../src/uapi/fcntl.js';
import { type CrashDriver, machine, type TestScheduler } from './journal/crash-device.js';

/** Numbers from a seed (mulberry32). */
export function numbers(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % n;
  };
}

/** An image with an empty filesystem. @param bytes a multiple of 4096 @param traces what its free blocks have held before */
export async function freshImage(bytes: number, options: MkfsOptions = {}, traces = '\0'): Promise<Buffer> {
  const m = machine(Buffer.alloc(bytes, traces));
  await mkfs(m.task(), m.bdev, options);
  return m.driver.now;
}

/** What fsck says of an image. */
export async function problemsOf(image: Buffer): Promise<string[]> {
  const m = machine(image, true);
  const lines: string[] = [];
  await fsck(m.task(), m.bdev, (line) => lines.push(line));
  return lines;
}

export interface Repaired {
  readonly image: Buffer;
  readonly lines: readonly string[];
  readonly result: FsckResult;
  readonly driver: CrashDriver;
}

/** An image after a repair, what was told, and what came of it. */
export async function repaired(image: Buffer, repair: Repair = 'all'): Promise<Repaired> {
  const m = machine(image);
  const lines: string[] = [];
  const result = await fsck(m.task(), m.bdev, (line) => lines.push(line), repair);
  return { image: m.driver.now, lines, result, driver: m.driver };
}

/** One mounted image. */
export class World {
  readonly sb: SuperBlock;
  readonly task: Task;
  readonly driver: CrashDriver;
  readonly sched: TestScheduler;
  readonly bdev: BlockDevice;
  readonly said: string[];
  readonly newTask: (cred?: Cred) => Task;

  private constructor(sb: SuperBlock, m: ReturnType<typeof machine>, said: string[]) {
    this.sb = sb;
    this.driver = m.driver;
    this.sched = m.sched;
    this.bdev = m.bdev;
    this.task = m.task();
    this.newTask = (cred) => m.task(cred);
    this.said = said;
  }

  static async mount(image: Buffer, flags = 0, readOnly = false, type = latch_fs_type): Promise<World> {
    const m = machine(image, readOnly);
    const said: string[] = [];
    const fs: FsMachine = {
      sched: m.sched,
      validator: m.validator,
      memory: new MemoryControl(m.sched, { limit: 16 << 20, validator: m.validator }),
      printk: (line) => said.push(line),
    };
    return new World(await vfs_mount(fs, type, m.bdev, flags), m, said);
  }

  async unmount(): Promise<number> {
    const busy = await kill_sb(this.sb);
    await sleep(0);
    return busy;
  }

  /** Run `body` with the dentry of a path. */
  async at<T>(path: string, body: (dentry: Dentry) => Promise<T> | T, task = this.task): Promise<T> {
    const { s_root: root } = this.sb;
    if (root === undefined) throw new Error('not mounted');
    const passed: Dentry[] = [];
    let dentry = root;
    try {
      for (const name of path.split('/').filter((part) => part !== '')) {
        dentry = await lookup_one(task, dentry, name);
        passed.push(dentry);
      }
      return await body(dentry);
    } finally {
      for (const used of passed.reverse()) await dput(task, used);
    }
  }

  async #in<T>(path: string, body: (parent: Dentry, name: string) => Awaitable<T>, task: Task): Promise<T> {
    const slash = path.lastIndexOf('/');
    return this.at(path.slice(0, Math.max(0, slash)), (parent) => body(parent, path.slice(slash + 1)), task);
  }

  async create(path: string, task = this.task): Promise<void> {
    await this.#in(path, async (parent, name) => dput(task, await do_create(task, parent, name, 0o100644, true)), task);
  }

  async mkdir(path: string, task = this.task): Promise<void> {
    await this.#in(path, async (parent, name) => dput(task, await do_mkdir(task, parent, name, 0o755)), task);
  }

  async symlink(path: string, target: string, task = this.task): Promise<void> {
    await this.#in(path, async (parent, name) => dput(task, await do_symlink(task, parent, name, target)), task);
  }

  async link(old: string, path: string, task = this.task): Promise<void> {
    await this.at(
      old,
      (dentry) => this.#in(path, async (parent, name) => dput(task, await do_link(task, dentry, parent, name)), task),
      task,
    );
  }

  unlink(path: string, task = this.task): Promise<void> {
    return this.#in(path, (parent, name) => do_unlink(task, parent, name), task);
  }

  rmdir(path: string, task = this.task): Promise<void> {
    return this.#in(path, (parent, name) => do_rmdir(task, parent, name), task);
  }

  rename(from: string, to: string, flags = 0, task = this.task): Promise<void> {
    return this.#in(
      from,
      (oldParent, oldName) =>
        this.#in(to, (parent, name) => do_rename(task, oldParent, oldName, parent, name, flags), task),
      task,
    );
  }

  async open(path: string, task = this.task, flags = O_RDWR): Promise<File> {
    return this.at(path, (dentry) => vfs_open(task, dentry, flags), task);
  }

  async #open<T>(path: string, body: (file: File) => Promise<T> | T, task: Task, flags = O_RDWR): Promise<T> {
    const file = await this.open(path, task, flags);
    try {
      return await body(file);
    } finally {
      await fput(task, file);
    }
  }

  async write(path: string, pos: number, bytes: Buffer, task = this.task, flags = O_RDWR): Promise<void> {
    await this.#open(path, (file) => vfs_iter_write(task, file, IovIter.ofSource(bytes), pos), task, flags);
  }

  async read(path: string, task = this.task): Promise<Buffer> {
    return this.#open(
      path,
      async (file) => {
        const pieces: Buffer[] = [];
        for (let pos = 0; pos < file.f_inode.i_size; ) {
          const iter = IovIter.ofDest(Math.min(1 << 16, file.f_inode.i_size - pos));
          const count = await vfs_iter_read(task, file, iter, pos);
          if (count === 0) break;
          pieces.push(Buffer.concat(iter.segments.map((segment) => Buffer.from(segment))));
          iter.release();
          pos += count;
        }
        return Buffer.concat(pieces);
      },
      task,
      0,
    );
  }

  async fsync(path: string, datasync = false, task = this.task): Promise<void> {
    await this.#open(path, (file) => vfs_fsync_range(task, file, 0, Number.MAX_SAFE_INTEGER, datasync), task);
  }

  async truncate(path: string, size: number, task = this.task): Promise<void> {
    await this.at(path, (dentry) => notify_change(task, dentry, { size }), task);
  }

  async chown(path: string, uid: number, gid: number, task = this.task): Promise<void> {
    await this.at(path, (dentry) => notify_change(task, dentry, { uid, gid }), task);
  }

  async fallocate(path: string, mode: number, offset: number, length: number, task = this.task): Promise<void> {
    await this.#open(path, (file) => vfs_fallocate(task, file, mode, offset, length), task);
  }

  async setxattr(path: string, name: string, value: Buffer, task = this.task): Promise<void> {
    await this.at(path, (dentry) => vfs_setxattr(task, dentry, name, value, 0), task);
  }

  /** The names in a directory. */
  async list(path: string, task = this.task): Promise<string[]> {
    return this.at(
      path,
      async (dentry) => {
        const dir = await vfs_open(task, dentry, 0);
        try {
          const names: string[] = [];
          await iterate_dir(task, dir, { pos: 0, actor: (name) => names.push(name) > 0 });
          return names.filter((name) => name !== '.' && name !== '..');
        } finally {
          await fput(task, dir);
        }
      },
      task,
    );
  }

  sync(task = this.task): Promise<void> {
    return sync_filesystem(task, this.sb);
  }
}
