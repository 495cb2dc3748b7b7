/**
 * fuse-native's callbacks on the VFS: each walks its path, does what the request of the same name does in ops/, and answers with a negative errno or 0.
 * libfuse keeps files that are removed while open under hidden names, and locks are the kernel's own.
 */

import { notify_change } from '../fs/attr.js';
import { dput } from '../fs/dcache.js';
import type { Dentry } from '../fs/dentry.js';
import type { File } from '../fs/file.js';
import { filp_flush, fput } from '../fs/file-table.js';
import { S_APPEND } from '../fs/inode.js';
import { open_or_create } from '../fs/namei/open-last.js';
import { do_link, do_mkdir, do_mknod, do_rename, do_rmdir, do_symlink, do_unlink, vfs_readlink } from '../fs/namei.js';
import { vfs_open } from '../fs/open.js';
import { vfs_iter_write } from '../fs/read-write.js';
import { vfs_getattr } from '../fs/stat.js';
import { vfs_statfs } from '../fs/super.js';
import type { SuperBlock } from '../fs/super-block.js';
import { vfs_fsync_range } from '../fs/sync.js';
import type { Iattr } from '../fs/types.js';
import { vfs_getxattr, vfs_listxattr, vfs_removexattr, vfs_setxattr } from '../fs/xattr.js';
import { task_end } from '../locking/context.js';
import { IovIter } from '../mm/iov-iter.js';
import type { Awaitable } from '../sched/awaitable.js';
import { Errno, errno, errnoOf } from '../sched/errno.js';
import type { Cred, Task } from '../sched/task.js';
import { O_RDWR } from '../uapi/fcntl.js';
import { S_IALLUGO } from '../uapi/stat.js';
import { Handles } from './handles.js';
import { listed, read_into, with_opened, with_parent, with_path } from './native-files.js';
import { bytesOf, statOf, textOf, timeOf } from './native-values.js';
import type { SessionLog } from './session-options.js';

/** Ends a callback: 0, a size, or a negative errno; then what the callback gives. */
type Done = (result: number, ...values: unknown[]) => void;
/** Ends a callback that answers with bytes put in its caller's buffer. */
export type NativeRoom = (result: number) => void;
/** The callbacks by the names that fuse-native knows; their arguments are those of its README. */
export type NativeCallbacks = Readonly<Record<string, (...args: never[]) => void>>;

const ALL = 0xfff;
/** uid_t and gid_t that mean "leave it". */
const UNCHANGED = 0xffffffff;
const ATTR_ROOM = 65536;

export class NativeOps {
  /** Callbacks answered, for statistics. */
  requests = 0;
  readonly #sb: SuperBlock;
  readonly #log: SessionLog;
  readonly #handles = new Handles();
  /** libfuse knows who calls, but the package does not pass it on: everything is done as whoever mounted. */
  readonly #cred: Cred = {
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    groups: () => [],
    // The kernel has checked the caller's permissions (default_permissions).
    capable: () => true,
  };

  constructor(sb: SuperBlock, log: SessionLog) {
    this.#sb = sb;
    this.#log = log;
  }

  readonly callbacks: NativeCallbacks = {
    getattr: (path: string, done: Done) =>
      this.#at('getattr', path, done, async (task, dentry) => [statOf(await vfs_getattr(task, dentry, ALL, 0))]),
    statfs: (path: string, done: Done) =>
      this.#at('statfs', path, done, async (task, dentry) => {
        const st = await vfs_statfs(task, dentry);
        const counts = { blocks: st.f_blocks, bfree: st.f_bfree, bavail: st.f_bavail, files: st.f_files };
        const free = { ffree: st.f_ffree, favail: st.f_ffree, namemax: st.f_namelen };
        return [{ bsize: st.f_bsize, frsize: st.f_frsize, ...counts, ...free, fsid: st.f_fsid, flag: 0 }];
      }),
    readlink: (path: string, done: Done) =>
      this.#at('readlink', path, done, async (task, dentry) => [textOf(await vfs_readlink(task, dentry))]),
    readdir: (path: string, done: Done) => this.#at('readdir', path, done, (task, dentry) => listed(task, dentry)),
    mkdir: (path: string, mode: number, done: Done) =>
      this.#make('mkdir', path, done, (task, dir, name) => do_mkdir(task, dir, name, mode)),
    mknod: (path: string, mode: number, dev: number, done: Done) =>
      this.#make('mknod', path, done, (task, dir, name) => do_mknod(task, dir, name, mode, dev)),
    symlink: (target: string, path: string, done: Done) =>
      this.#make('symlink', path, done, (task, dir, name) => do_symlink(task, dir, name, bytesOf(target))),
    link: (path: string, to: string, done: Done) =>
      this.#make('link', to, done, (task, dir, name) =>
        with_path(task, this.#sb, path, (old) => do_link(task, old, dir, name)),
      ),
    unlink: (path: string, done: Done) =>
      this.#in('unlink', path, done, (task, dir, name) => do_unlink(task, dir, name)),
    rmdir: (path: string, done: Done) => this.#in('rmdir', path, done, (task, dir, name) => do_rmdir(task, dir, name)),
    rename: (path: string, to: string, done: Done) =>
      this.#in('rename', path, done, (task, dir, name) =>
        with_parent(task, this.#sb, to, (newDir, newName) => do_rename(task, dir, name, newDir, newName, 0)),
      ),
    chmod: (path: string, mode: number, done: Done) => this.#change('chmod', path, done, { mode: mode & S_IALLUGO }),
    chown: (path: string, uid: number, gid: number, done: Done) =>
      this.#change('chown', path, done, {
        ...(uid === UNCHANGED ? {} : { uid }),
        ...(gid === UNCHANGED ? {} : { gid }),
      }),
    utimens: (path: string, atime: number, mtime: number, done: Done) =>
      this.#change('utimens', path, done, { atime: timeOf(atime), mtime: timeOf(mtime) }),
    truncate: (path: string, size: number, done: Done) => this.#change('truncate', path, done, { size }),
    ftruncate: (_path: string, fd: number, size: number, done: Done) =>
      this.#on('ftruncate', fd, done, (task, file) => notify_change(task, file.f_dentry, { size, file })),
    create: (path: string, mode: number, done: Done) =>
      this.#in('create', path, done, async (task, dir, name) => {
        const { file, dentry } = await open_or_create(task, dir, name, O_RDWR, mode);
        await dput(task, dentry);
        return [this.#handles.add(file)];
      }),
    open: (path: string, flags: number, done: Done) =>
      this.#at('open', path, done, async (task, dentry) => [this.#handles.add(await vfs_open(task, dentry, flags))]),
    read: (_path: string, fd: number, room: Buffer, length: number, offset: number, done: Done) =>
      this.#on('read', fd, counted(done), async (task, file) => [await read_into(task, file, room, length, offset)]),
    write: (_path: string, fd: number, bytes: Buffer, length: number, offset: number, done: Done) =>
      this.#on('write', fd, counted(done), async (task, file) => {
        const iter = IovIter.ofSource(bytes.subarray(0, length));
        // The kernel knows where the file ends, has fcntl(2)'s flags, and takes capabilities away itself: the package tells none of these.
        const append = (file.f_inode.i_flags & S_APPEND) !== 0;
        return [await vfs_iter_write(task, file, iter, offset, { append, killCaps: false })];
      }),
    flush: (_path: string, fd: number, done: Done) => this.#on('flush', fd, done, filp_flush),
    release: (_path: string, fd: number, done: Done) =>
      this.#on('release', fd, done, (task) => fput(task, this.#handles.remove(fd))),
    fsync: (_path: string, datasync: number, fd: number, done: Done) =>
      this.#on('fsync', fd, done, (task, file) => sync(task, file, datasync)),
    fsyncdir: (path: string, datasync: number, _fd: number, done: Done) =>
      this.#at('fsyncdir', path, done, (task, dentry) =>
        with_opened(task, dentry, (file) => sync(task, file, datasync)),
      ),
    setxattr: (path: string, name: string, value: Buffer, _position: number, flags: number, done: Done) =>
      this.#at('setxattr', path, done, (task, dentry) =>
        vfs_setxattr(task, dentry, bytesOf(name), Buffer.from(value), flags),
      ),
    removexattr: (path: string, name: string, done: Done) =>
      this.#at('removexattr', path, done, (task, dentry) => vfs_removexattr(task, dentry, bytesOf(name))),
    // Their names must be there for libfuse to ask; the transport calls the methods below.
    getxattr: () => undefined,
    listxattr: () => undefined,
  };

  getxattr(path: string, name: string, room: Buffer, done: NativeRoom): void {
    this.#value('getxattr', path, room, done, (task, dentry) => vfs_getxattr(task, dentry, bytesOf(name)));
  }

  listxattr(path: string, room: Buffer, done: NativeRoom): void {
    this.#value('listxattr', path, room, done, async (task, dentry) => {
      const names = await vfs_listxattr(task, dentry);
      return Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1');
    });
  }

  async shutdown(): Promise<void> {
    const task = this.#task('shutdown');
    await this.#handles.closeAll(task);
    task_end(task);
  }

  /** Put a value in the room that the caller has, or say how long it is where that is none. */
  #value(
    name: string,
    path: string,
    room: Buffer,
    done: NativeRoom,
    body: (task: Task, dentry: Dentry) => Awaitable<Buffer | undefined>,
  ): void {
    this.#at(name, path, counted(done), async (task, dentry) => {
      const value = await body(task, dentry);
      if (value === undefined) throw errno('ENODATA');
      if (room.length === 0) return [Math.min(value.length, ATTR_ROOM)];
      if (value.length > room.length) throw errno('ERANGE');
      value.copy(room);
      return [value.length];
    });
  }

  #task(name: string): Task {
    const task = this.#sb.newTask({ comm: 'fuse-native', cred: this.#cred });
    task.syscall = name;
    return task;
  }

  /** Run one callback to its end as a task, and answer. */
  #run(name: string, done: Done, body: (task: Task) => Awaitable<unknown>): void {
    this.requests++;
    const task = this.#task(name);
    const run = async (): Promise<void> => {
      try {
        const values = await body(task);
        done(0, ...(Array.isArray(values) ? values : []));
      } catch (error) {
        if (!(error instanceof Errno)) this.#log.error({ err: error, request: name }, 'request failed');
        done(-errnoOf(error));
      } finally {
        task_end(task);
      }
    };
    void this.#sb.sched.run(run);
  }

  #at(name: string, path: string, done: Done, body: (task: Task, dentry: Dentry) => Awaitable<unknown>): void {
    this.#run(name, done, (task) => with_path(task, this.#sb, path, (dentry) => body(task, dentry)));
  }

  #in(
    name: string,
    path: string,
    done: Done,
    body: (task: Task, dir: Dentry, last: string) => Awaitable<unknown>,
  ): void {
    this.#run(name, done, (task) => with_parent(task, this.#sb, path, (dir, last) => body(task, dir, last)));
  }

  /** As #in, for what gives a dentry that nobody needs. */
  #make(
    name: string,
    path: string,
    done: Done,
    body: (task: Task, dir: Dentry, last: string) => Awaitable<Dentry>,
  ): void {
    this.#in(name, path, done, async (task, dir, last) => {
      await dput(task, await body(task, dir, last));
    });
  }

  #on(name: string, fd: number, done: Done, body: (task: Task, file: File) => Awaitable<unknown>): void {
    this.#run(name, done, (task) => body(task, this.#handles.get(fd)));
  }

  #change(name: string, path: string, done: Done, attr: Iattr): void {
    this.#at(name, path, done, (task, dentry) => notify_change(task, dentry, attr));
  }
}

/** For callbacks whose result is an errno or a count, in one number. */
function counted(done: NativeRoom): Done {
  return (error, count) => done(error !== 0 ? error : Number(count));
}

function sync(task: Task, file: File, datasync: number): Awaitable<void> {
  return vfs_fsync_range(task, file, 0, Number.MAX_SAFE_INTEGER, datasync !== 0);
}
