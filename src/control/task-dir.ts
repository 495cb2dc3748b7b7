/**
 * `.latchfs/task`: a directory for each task that sleeps, by its number, as proc has them for processes (fs/proc/base.c). Names come and go with the tasks,
 * so that each is asked about before it is believed, and none is kept that is not true.
 */

import { dput } from '../fs/dcache.js';
import { d_add, d_splice_alias } from '../fs/dcache-alias.js';
import type { Dentry } from '../fs/dentry.js';
import { iget_locked, unlock_new_inode } from '../fs/icache.js';
import { I_NEW, type Inode, inode_init } from '../fs/inode.js';
import { simple_offset_dentry_operations } from '../fs/libfs.js';
import { lookup_one } from '../fs/namei.js';
import type { dentry_operations, export_operations, file_operations, inode_operations } from '../fs/operations.js';
import { generic_file_llseek } from '../fs/seek.js';
import { generic_fillattr } from '../fs/stat.js';
import type { SuperBlock } from '../fs/super-block.js';
import { current_time } from '../fs/time.js';
import type { DirContext } from '../fs/types.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Sleeper } from '../locking/lockdep/waits.js';
import { Lockdep } from '../locking/lockdep.js';
import { sleeperText } from '../report/tasks-text.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import { DT_DIR, DT_LNK, DT_REG } from '../uapi/dirent.js';
import { S_IFDIR, S_IFLNK, S_IFREG } from '../uapi/stat.js';
import { type ControlOwner, controlFileOperations, type InFlight } from './file.js';

export const TASK_DIR = 'task';
/** Inodes below are files that are always there; this one is the directory of tasks, and those of tasks follow. */
export const TASK_DIR_INO = 2 ** 16;
/** Inode numbers of one task. */
const PER_TASK = 4;
/** What a task has, by what its inode number adds to that of its directory. */
const NAMES: readonly string[] = ['', 'status', 'blocker'];
const [DIRECTORY, STATUS, BLOCKER] = [0, 1, 2];

/** Of each part of a task. */
const TYPES: readonly number[] = [DT_DIR, DT_REG, DT_LNK];

/** The inode number of a task's directory. */
function inoOf(id: number): number {
  return TASK_DIR_INO + id * PER_TASK;
}

function idOf(ino: number): number {
  return Math.floor((ino - TASK_DIR_INO) / PER_TASK);
}

export class TaskTree {
  readonly #sleepers: ReadonlyMap<Task, Sleeper>;
  readonly #owner: ControlOwner;
  readonly #inFlight: InFlight;

  /** @param validator who knows the tasks that sleep @param inFlight of the mount that shows them */
  constructor(validator: Validator, owner: ControlOwner, inFlight: InFlight) {
    this.#sleepers = validator instanceof Lockdep ? validator.waits.sleepers : new Map();
    this.#owner = owner;
    this.#inFlight = inFlight;
  }

  #sleeper(id: number): Sleeper | undefined {
    for (const sleeper of this.#sleepers.values()) if (sleeper.task.id === id) return sleeper;
    return undefined;
  }

  /** The task that keeps another one waiting, if one is known. */
  #blocker(id: number): Task | undefined {
    return this.#sleeper(id)?.blockers?.()[0];
  }

  /** Whether there is, now, what of the tree has that inode number. */
  #holds(ino: number): boolean {
    if (ino === TASK_DIR_INO) return true;
    const id = idOf(ino);
    const part = ino - inoOf(id);
    if (part >= NAMES.length) return false;
    return part === BLOCKER ? this.#blocker(id) !== undefined : this.#sleeper(id) !== undefined;
  }

  #valid({ d_inode: inode }: Dentry): boolean {
    return inode !== undefined && (inode.i_ino < TASK_DIR_INO || this.#holds(inode.i_ino));
  }

  /** Of all names of the control directory. */
  readonly dentry_operations: dentry_operations = {
    ...simple_offset_dentry_operations,
    d_revalidate: (_task, dentry) => this.#valid(dentry),
    d_weak_revalidate: (_task, dentry) => this.#valid(dentry),
    d_delete: (task, dentry) => {
      guard_write(task, GUARDED.d_inode, dentry.d_lock);
      return !this.#valid(dentry);
    },
  };

  /** For those who come by an inode's number, as a mount does. */
  readonly export_operations: export_operations = {
    get_inode: (task, sb, ino) => this.#inode(task, sb, ino),
    get_parent: (task, child) =>
      this.#inode(task, child.i_sb, child.i_ino < TASK_DIR_INO + PER_TASK ? 1 : TASK_DIR_INO),
    get_name: (_task, _parent, child) => (child.i_ino === TASK_DIR_INO ? TASK_DIR : String(idOf(child.i_ino))),
  };

  /** @throws ESTALE where there is none (any more) */
  #inode(task: Task, sb: SuperBlock, ino: number): Awaitable<Inode> {
    // The other files of the control directory are always in memory.
    if (ino < TASK_DIR_INO ? !sb.inodeHash.has(ino) : !this.#holds(ino)) throw errno('ESTALE');
    return andThen(iget_locked(task, sb, ino), (inode) => {
      if ((inode.i_state & I_NEW) !== 0) {
        this.#fill(inode);
        unlock_new_inode(task, inode);
      }
      return inode;
    });
  }

  #fill(inode: Inode): void {
    const id = idOf(inode.i_ino);
    const attrs = inode_init(inode);
    attrs.i_uid = this.#owner.uid;
    attrs.i_gid = this.#owner.gid;
    inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = current_time(inode);
    if (inode.i_ino === TASK_DIR_INO) {
      attrs.i_mode = S_IFDIR | 0o500;
      attrs.i_nlink = 2;
      inode.i_op = this.#tasks;
      inode.i_fop = this.#listing((pos) => this.#list(pos));
      return;
    }
    switch (inode.i_ino - inoOf(id)) {
      case STATUS:
        attrs.i_mode = S_IFREG | 0o400;
        inode.i_fop = controlFileOperations(
          { name: 'status', show: () => this.#status(id) },
          this.#owner,
          this.#inFlight,
        );
        return;
      case BLOCKER:
        attrs.i_mode = S_IFLNK | 0o777;
        inode.i_op = this.#link(id);
        return;
      default:
        attrs.i_mode = S_IFDIR | 0o500;
        attrs.i_nlink = 2;
        inode.i_op = { lookup: (task, dir, dentry) => this.#lookup(task, dir, dentry, NAMES.indexOf(dentry.d_name)) };
        inode.i_fop = this.#listing(() => this.#parts(id));
    }
  }

  /** @throws ESTALE where the task has gone on */
  #status(id: number): string {
    const sleeper = this.#sleeper(id);
    if (sleeper === undefined) throw errno('ESTALE');
    return `${sleeperText(sleeper).join('\n')}\n`;
  }

  readonly #tasks: inode_operations = {
    lookup: (task, dir, dentry) => {
      const { d_name: name } = dentry;
      return this.#found(task, dir, dentry, /^[1-9]\d{0,9}$/.test(name) ? inoOf(Number(name)) : undefined);
    },
    // A listing that somebody keeps is as old as this says.
    getattr: (_task, { d_inode: inode }) => {
      if (inode === undefined) throw errno('ENOENT');
      const { sec, nsec } = inode.i_sb.sched.realtime();
      return { ...generic_fillattr(inode), mtime: { sec, nsec } };
    },
  };

  #lookup(task: Task, dir: Inode, dentry: Dentry, part: number): Awaitable<Dentry | undefined> {
    return this.#found(task, dir, dentry, part > DIRECTORY ? dir.i_ino + part : undefined);
  }

  #found(task: Task, dir: Inode, dentry: Dentry, ino: number | undefined): Awaitable<Dentry | undefined> {
    if (ino === undefined || !this.#holds(ino)) {
      d_add(task, dentry, undefined);
      return undefined;
    }
    return andThen(this.#inode(task, dir.i_sb, ino), (inode) => d_splice_alias(task, inode, dentry));
  }

  /** The link to who is waited for: read, it says where that is; walked, it leads there whatever it is called (proc_pid_link_inode_operations). */
  #link(id: number): inode_operations {
    return {
      readlink: () => {
        const blocker = this.#blocker(id);
        if (blocker === undefined) throw errno('ENOENT');
        return `../${blocker.id}`;
      },
      get_link: (task, dentry) => {
        if (dentry === undefined) throw errno('ECHILD');
        const blocker = this.#blocker(id);
        if (blocker === undefined) throw errno('ENOENT');
        return andThen(lookup_one(task, dentry.d_parent.d_parent, String(blocker.id)), (found) => {
          if (!found.isNegative) return found;
          // One that does not sleep itself has no directory.
          return andThen(dput(task, found), () => {
            throw errno('ENOENT');
          });
        });
      },
    };
  }

  /** The sleeping tasks from a position on, which is a task's number and 2. */
  #list(pos: number): readonly (readonly [string, number, number, number])[] {
    return [...this.#sleepers.keys()]
      .map(({ id }) => id)
      .filter((id) => id + 2 >= pos)
      .sort((a, b) => a - b)
      .map((id) => [String(id), inoOf(id), DT_DIR, id + 3] as const);
  }

  #parts(id: number): readonly (readonly [string, number, number, number])[] {
    return [STATUS, BLOCKER]
      .filter((part) => this.#holds(inoOf(id) + part))
      .map((part) => [NAMES[part] ?? '', inoOf(id) + part, TYPES[part] ?? 0, part + 2] as const);
  }

  #listing(entries: (pos: number) => readonly (readonly [string, number, number, number])[]): file_operations {
    return {
      llseek: (_task, file, offset, whence) => generic_file_llseek(file, offset, whence),
      iterate_shared: (_task, { f_inode: dir, f_dentry: { d_parent } }, ctx: DirContext) => {
        const dots = [
          ['.', dir.i_ino, DT_DIR, 1],
          ['..', d_parent.d_inode?.i_ino ?? 1, DT_DIR, 2],
        ] as const;
        for (const [name, ino, type, next] of [...dots, ...entries(ctx.pos)]) {
          if (next <= ctx.pos) continue;
          if (!ctx.actor(name, ino, type, next)) return;
          ctx.pos = next;
        }
      },
    };
  }
}
