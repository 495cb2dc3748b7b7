/**
 * struct super_block: one mounted filesystem. The functions that mount, sync and shut it down are in super.ts.
 *
 * fs/ is the VFS; it may import mm/ and below.
 */
import type { BlockDevice } from '../block/block-device.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { class_key, type LockClassKey } from '../locking/lockdep/class.js';
import { Mutex } from '../locking/mutex.js';
import type { Rcu } from '../locking/rcu.js';
import { RwSem } from '../locking/rwsem.js';
import { SeqLock } from '../locking/seqlock.js';
import type { Bdi } from '../mm/backing-dev.js';
import type { MemoryControl } from '../mm/memory.js';
import { Errseq } from '../sched/errseq.js';
import type { Scheduler } from '../sched/scheduler.js';
import { Task, type TaskOptions } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import type { Dentry } from './dentry.js';
import type { Inode } from './inode.js';
import { Lru } from './lru.js';
import type { dentry_operations, export_operations, super_operations, xattr_handler } from './operations.js';
import { type dquot_operations, QuotaInfo, type quotactl_ops } from './quota/types.js';
import { SuperWriters } from './super-writers.js';
import { WbLists } from './wb-lists.js';

/** s_flags bits (SB_*), and MS_STRICTATIME: a flag of a mount in the kernel, here of the superblock. */
export const SB_RDONLY = 1;
export const SB_SYNCHRONOUS = 16;
export const SB_DIRSYNC = 128;
export const SB_NOATIME = 1024;
export const SB_NODIRATIME = 2048;
export const SB_POSIXACL = 1 << 16;
export const SB_LAZYTIME = 1 << 25;
export const SB_ACTIVE = 1 << 30;

/** What a superblock needs of the machine that it lives on. */
/** In milliseconds, as vm.dirty_writeback_centisecs and its neighbours say it. */
export interface WritebackTimes {
  /** Between two rounds for what is old; 0: there are none (dirty_writeback_interval). */
  readonly interval: number;
  /** After which dirty data are old (dirty_expire_interval). */
  readonly expire: number;
  /** After which times that were kept back are written; 0: only with something else (dirtytime_expire_interval). */
  readonly dirtytime_expire: number;
}

export const WRITEBACK_TIMES: WritebackTimes = { interval: 5_000, expire: 30_000, dirtytime_expire: 12 * 3600 * 1000 };

export interface Machine {
  readonly sched: Scheduler;
  readonly validator: Validator;
  readonly memory: MemoryControl;
  /**
   * Whether a change after a stat gets a ctime between two ticks of the clock (FS_MGTIME), as by default. Not where somebody else stamps files, too, who knows only
   * the ticks: what he touches later would look older.
   */
  readonly multigrain?: boolean;
  /** When what is dirty is written back without being asked for; by default as Linux does it. */
  readonly writeback?: Partial<WritebackTimes>;
  /** Tell the administrator something, in one line. */
  readonly printk?: (line: string) => void;
}

/** Where a filesystem writes its changes before they go home: how far that has come. Transactions are numbered in the order in which they are committed. */
export interface MetadataLog {
  /** The youngest transaction that there is. */
  readonly tid: number;
  /** The youngest that is on the device, with all before it. */
  readonly commitSequence: number;
  /** The transaction with the last change of an inode. @param datasync leave out what fdatasync may */
  tid_of(inode: Inode, datasync: boolean): number;
}

export class SuperBlock {
  readonly machine: Machine;
  /** Of a class for each file system type (s_umount_key). */
  readonly s_umount: RwSem<'s_umount'>;
  /** Held for every rename between directories of this filesystem. */
  readonly s_vfs_rename_sem = new Mutex('s_vfs_rename_sem');
  /** Of this tree of dentries; in the kernel there is one for all. */
  readonly rename_lock = new SeqLock('rename_lock');
  /** The classes of i_rwsem, of files and of directories (file_system_type.i_mutex_key and i_mutex_dir_key). */
  readonly i_mutex_key: LockClassKey<'i_rwsem'>;
  readonly i_mutex_dir_key: LockClassKey<'i_rwsem'>;
  /** The file system type's name, for /proc/mounts and reports. */
  readonly s_type: string;
  /** What is mounted: 'memory', or the image's path. */
  s_id = '';
  s_bdev: BlockDevice | undefined;
  /** SB_* bits; changed with s_umount held exclusively, through sb_set_flags. */
  readonly s_flags: number = 0;
  s_blocksize = 4096;
  /** The largest file size, bytes. */
  s_maxbytes = 0;
  s_magic = 0;
  /** Nanoseconds between two representable times. */
  s_time_gran = 1;
  s_op: super_operations = {};
  s_d_op: dentry_operations = {};
  s_xattr: readonly xattr_handler[] = [];
  dq_op: dquot_operations | undefined;
  s_qcop: quotactl_ops | undefined;
  s_export_op: export_operations | undefined;
  s_root: Dentry | undefined;
  /** Its log, if it has one: what fsync and sync_fs have promised is compared with it. */
  s_log: MetadataLog | undefined;
  /** The kernel checks permissions before a request of a mount comes (default_permissions). */
  kernelChecksPermissions = false;
  /** What its files contain is made when they are opened, as in proc: no cache outside may keep it. */
  generated = false;
  /** Default readahead of a file, pages. */
  s_ra_pages = 32;
  /** The filesystem's own (s_fs_info). */
  s_fs_info: object | undefined;
  /** ino → inode: the hash of inodes in memory. */
  readonly inodeHash = new Map<number, Inode>();
  /** Unused dentries and inodes, kept for the next user. */
  readonly s_dentry_lru = new Lru<Dentry>();
  readonly s_inode_lru = new Lru<Inode>();
  /** How many unused dentries and inodes are kept. */
  s_max_unused_dentries: number;
  s_max_unused_inodes: number;
  /** The most links that a file, or subdirectories that a directory, may have; 0: the filesystem looks itself. */
  s_max_links = 0;
  /** Dirty inodes. */
  readonly s_wb: WbLists;
  /** Dirty pages of this filesystem together, and its flusher's bell; there while it is mounted. */
  s_bdi: Bdi | undefined;
  /** Errors of writing back any of its files, for syncfs(2). */
  readonly s_wb_err = new Errseq();
  /** Who is writing, and freezing. */
  readonly s_writers: SuperWriters;
  #softirq: Task | undefined;

  /** Quotas, which are off unless the filesystem loads them. */
  readonly s_dquot = new QuotaInfo();

  readonly s_times: WritebackTimes;

  constructor(machine: Machine, type: string) {
    this.s_times = { ...WRITEBACK_TIMES, ...machine.writeback };
    this.machine = machine;
    this.s_type = type;
    this.s_umount = new RwSem('s_umount', class_key('s_umount', 'rwsem', type));
    this.s_writers = new SuperWriters(type);
    this.i_mutex_key = class_key('i_rwsem', 'rwsem', type);
    this.i_mutex_dir_key = class_key('i_rwsem', 'rwsem', `${type}-directory`);
    const { max_inodes } = machine.memory;
    this.s_max_unused_inodes = max_inodes;
    this.s_max_unused_dentries = 2 * max_inodes;
    this.s_wb = new WbLists(machine.sched, Math.ceil(0.4 * max_inodes));
  }

  /** That of the machine: a walk may go from one filesystem to another. */
  get rcu(): Rcu {
    return this.machine.memory.rcu;
  }

  get memory(): MemoryControl {
    return this.machine.memory;
  }

  get sched(): Scheduler {
    return this.machine.sched;
  }

  /** A task of the filesystem's own: writeback, journal, shutdown. */
  newTask(options: TaskOptions): Task {
    return new Task(this.machine.sched, this.machine.validator, options);
  }

  /** In which RCU callbacks run: they interrupt somebody, and may not sleep. */
  get softirq(): Task {
    this.#softirq ??= this.newTask({ comm: 'rcu', context: 'completion' });
    return this.#softirq;
  }

  /** See MappingHost.mark_dirty_pages. */
  inodeHasDirtyPages(task: Task, inode: Inode): void {
    this.s_wb.markPages(task, inode);
  }
}

/** Change how a superblock is mounted. @param flags SB_*, all of them; s_umount is held exclusively */
export function sb_set_flags(task: Task, sb: SuperBlock, flags: number): void {
  guard_write(task, GUARDED.s_flags, sb.s_umount);
  const settable: { s_flags: number } = sb;
  settable.s_flags = flags;
}

/** What a superblock begins with: it is not mounted yet. @param flags SB_* */
export function sb_init_flags(sb: SuperBlock, flags: number): void {
  const settable: { s_flags: number } = sb;
  settable.s_flags = flags;
}

/** The filesystem is damaged, and nothing may be written any more: at once, whoever has s_umount (ext4_handle_error). */
export function sb_emergency_readonly(sb: SuperBlock): void {
  const settable: { s_flags: number } = sb;
  settable.s_flags |= SB_RDONLY;
}
