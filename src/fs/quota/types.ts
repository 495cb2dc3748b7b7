/**
 * Quotas: what a user, a group or a project may have of a filesystem (include/linux/quota.h). This file has the structures; `dquot.ts` finds, reads and writes quotas, `charge.ts`
 * charges inodes for what they take, `transfer.ts` moves charges to another owner, `quotactl.ts` is what system calls do, `quota-v2.ts` and `quota-tree.ts` are the file that a filesystem keeps them in.
 *
 * Locks, outermost first: dqonoff_sem (exclusive to switch quotas, shared to use them past an inode), a transaction of the filesystem, dqptr_sem (exclusive to change
 * for whom inodes are charged, shared to charge them), dq_lock (one quota is read or written), dqio_sem (the quota file). dq_data_lock, a spinlock, has the
 * numbers, and the pointers of inodes as well: who may not wait needs no other.
 */
import { Mutex } from '../../locking/mutex.js';
import { RwSem } from '../../locking/rwsem.js';
import { SpinLock } from '../../locking/spinlock.js';
import type { Awaitable } from '../../sched/awaitable.js';
import type { Timer } from '../../sched/scheduler.js';
import type { Task } from '../../sched/task.js';
import type { Inode } from '../inode.js';
import type { SuperBlock } from '../super-block.js';

/** Types of quotas, as quotactl(2) numbers them. */
export const USRQUOTA = 0;
export const GRPQUOTA = 1;
/** Of projects: files that belong together, whosever they are. */
export const PRJQUOTA = 2;
export type QuotaType = typeof USRQUOTA | typeof GRPQUOTA | typeof PRJQUOTA;
export const QUOTA_TYPES: readonly QuotaType[] = [USRQUOTA, GRPQUOTA, PRJQUOTA];

/** The ids of a user, a group and a project, by type of quota; undefined: of no interest. */
export type QuotaIds = readonly [number | undefined, number | undefined, number | undefined];

/** Limits of blocks are in units of this many bytes where users and the quota file see them. */
export const QUOTABLOCK_SIZE = 1024;

/** What a type of quotas does: its usage is counted; its limits are enforced. */
export const DQUOT_USAGE_ENABLED = 1;
export const DQUOT_LIMITS_ENABLED = 2;

/** dq_flags: it is in use; memory and file differ; it was read from the file; it has no limits (all of them are 0). */
export const DQ_ACTIVE = 1;
export const DQ_MOD = 2;
export const DQ_READ = 4;
export const DQ_FAKE = 8;

/** What one user, group or project has and may have (struct mem_dqblk). Space in bytes; a limit of 0 is none. */
export interface MemDqblk {
  dqb_bhardlimit: number;
  dqb_bsoftlimit: number;
  dqb_curspace: number;
  /** Promised to data that have no blocks yet: in memory only. */
  dqb_rsvspace: number;
  dqb_ihardlimit: number;
  dqb_isoftlimit: number;
  dqb_curinodes: number;
  /** When the soft limits become hard ones, seconds since 1970; 0 while they are kept. */
  dqb_btime: number;
  dqb_itime: number;
}

/** Nothing in use, and no limits. */
export function newDqblk(): MemDqblk {
  return {
    dqb_bhardlimit: 0,
    dqb_bsoftlimit: 0,
    dqb_curspace: 0,
    dqb_rsvspace: 0,
    dqb_ihardlimit: 0,
    dqb_isoftlimit: 0,
    dqb_curinodes: 0,
    dqb_btime: 0,
    dqb_itime: 0,
  };
}

/** What holds for all quotas of a type (struct mem_dqinfo). */
export interface MemDqinfo {
  /** Seconds for which the soft limits may be exceeded. */
  dqi_bgrace: number;
  dqi_igrace: number;
  /** DQF_*: none is known. */
  dqi_flags: number;
  /** The most that a limit can be: bytes, and inodes. */
  readonly dqi_max_spc_limit: number;
  readonly dqi_max_ino_limit: number;
  /** The file says something else. */
  dirty: boolean;
  /** The format's own. */
  dqi_priv: object | undefined;
}

/** The quota of one user, group or project (struct dquot). */
export class Dquot {
  readonly dq_sb: SuperBlock;
  readonly dq_type: QuotaType;
  readonly dq_id: number;
  /** It is read or written. */
  readonly dq_lock = new Mutex('dq_lock');
  /** References: from inodes, and from who works with it. */
  dq_count = 0;
  /** DQ_*. */
  dq_flags = 0;
  /** How often the generic operations have been called for it. */
  generic = 0;
  /** Where it is in the quota file, bytes; 0: nowhere. */
  dq_off = 0;
  readonly dq_dqb = newDqblk();

  constructor(sb: SuperBlock, type: QuotaType, id: number) {
    this.dq_sb = sb;
    this.dq_type = type;
    this.dq_id = id;
  }
}

/** One type of quotas that is loaded. */
export interface LoadedQuota {
  readonly format: quota_format_ops;
  readonly info: MemDqinfo;
  /** DQUOT_*_ENABLED. */
  flags: number;
}

/** The quotas of a superblock (struct quota_info). */
export class QuotaInfo {
  readonly dqonoff_sem = new RwSem('dqonoff_sem');
  readonly dqptr_sem = new RwSem('dqptr_sem');
  readonly dqio_sem = new RwSem('dqio_sem');
  readonly dq_data_lock = new SpinLock('dq_data_lock');
  /** How often what holds for all quotas of a type was put into the file. */
  generic = 0;
  /** By type; undefined: off. */
  readonly loaded: (LoadedQuota | undefined)[] = [];
  /** Those in memory, by type and id. */
  readonly dquots: readonly Map<number, Dquot>[] = QUOTA_TYPES.map(() => new Map());
  /** Those whose file says something else. */
  readonly dirty = new Set<Dquot>();
  /** Those that nobody refers to any more, until they are released; and what sees to it. */
  readonly releasing = new Set<Dquot>();
  releaseTimer: Timer | undefined;
}

/** Locks: the section dquot_operations of the contract. All but mark_dirty come back to the filesystem through quota_read and quota_write. */
export interface dquot_operations {
  /** Put it into the file (dquot_commit). */
  write_dquot(task: Task, dquot: Dquot): Awaitable<void>;
  /** Read it, and give it its place in the file (dquot_acquire). */
  acquire_dquot(task: Task, dquot: Dquot): Awaitable<void>;
  /** Nobody uses it: a quota that says nothing leaves the file (dquot_release). */
  release_dquot(task: Task, dquot: Dquot): Awaitable<void>;
  /** Its numbers have changed (dquot_mark_dquot_dirty). */
  mark_dirty(task: Task, dquot: Dquot): Awaitable<void>;
  /** Put what holds for all quotas of the type into the file (dquot_commit_info). */
  write_info(task: Task, sb: SuperBlock, type: QuotaType): Awaitable<void>;
  /** Bytes that are promised to the inode and part of its i_blocks (get_reserved_space). */
  get_reserved_space?(inode: Inode): number;
  /**
   * Usage must be in the file in the very transaction that changes it: what was marked dirty is written at once, with dqptr_sem held shared. Otherwise a sync does it.
   */
  readonly journaled?: boolean;
}

/** How quotas are kept in a file (struct quota_format_ops). Takes dqio_sem: shared to read, exclusively to write. */
export interface quota_format_ops {
  /** QFMT_*. */
  readonly qf_fmt_id: number;
  /** @throws EINVAL where the file is none of this format; EIO */
  read_file_info(task: Task, sb: SuperBlock, type: QuotaType): Awaitable<MemDqinfo>;
  write_file_info(task: Task, sb: SuperBlock, type: QuotaType, info: MemDqinfo): Awaitable<void>;
  /** @throws EIO where it is damaged */
  read_dqblk(task: Task, dquot: Dquot, info: MemDqinfo): Awaitable<void>;
  commit_dqblk(task: Task, dquot: Dquot, info: MemDqinfo): Awaitable<void>;
  /** Take it out of the file where it says nothing. */
  release_dqblk(task: Task, dquot: Dquot, info: MemDqinfo): Awaitable<void>;
  /** The first id in the file that is not below `id`. @throws ENOENT where there is none */
  get_next_id(task: Task, sb: SuperBlock, type: QuotaType, id: number, info: MemDqinfo): Awaitable<number>;
}

/** A quota as quotactl(2) shows it (struct if_dqblk): limits of space in units of 1 KiB, space in bytes. */
export interface IfDqblk {
  dqb_bhardlimit: number;
  dqb_bsoftlimit: number;
  dqb_curspace: number;
  dqb_ihardlimit: number;
  dqb_isoftlimit: number;
  dqb_curinodes: number;
  dqb_btime: number;
  dqb_itime: number;
}

/** What holds for all quotas of a type, as quotactl(2) shows it (struct if_dqinfo). */
export interface IfDqinfo {
  dqi_bgrace: number;
  dqi_igrace: number;
  dqi_flags: number;
}

/** What a filesystem does for quotactl(2) (struct quotactl_ops). s_umount is held: exclusively to enable and disable. */
export interface quotactl_ops {
  /** Enforce limits. @throws EINVAL where usage is not counted; EEXIST where they are enforced */
  quota_enable(task: Task, sb: SuperBlock, type: QuotaType): Awaitable<void>;
  /** Do not enforce limits. @throws EEXIST where they are not */
  quota_disable(task: Task, sb: SuperBlock, type: QuotaType): Awaitable<void>;
  /** Everything is in the files (Q_SYNC). */
  quota_sync(task: Task, sb: SuperBlock, type: QuotaType | undefined): Awaitable<void>;
  get_info(task: Task, sb: SuperBlock, type: QuotaType): Awaitable<IfDqinfo>;
  set_info(task: Task, sb: SuperBlock, type: QuotaType, info: Partial<IfDqinfo>): Awaitable<void>;
  get_dqblk(task: Task, sb: SuperBlock, type: QuotaType, id: number): Awaitable<IfDqblk>;
  /** The first quota whose id is not below `id`. @throws ENOENT */
  get_nextdqblk(
    task: Task,
    sb: SuperBlock,
    type: QuotaType,
    id: number,
  ): Awaitable<IfDqblk & { readonly dqb_id: number }>;
  set_dqblk(task: Task, sb: SuperBlock, type: QuotaType, id: number, dqblk: Partial<IfDqblk>): Awaitable<void>;
}

/** Whether usage of that type is counted (sb_has_quota_active). */
export function sb_has_quota_active(sb: SuperBlock, type: QuotaType): boolean {
  return sb.s_dquot.loaded[type] !== undefined;
}

/** Whether limits of that type are enforced (sb_has_quota_limits_enabled). */
export function sb_has_quota_limits_enabled(sb: SuperBlock, type: QuotaType): boolean {
  return ((sb.s_dquot.loaded[type]?.flags ?? 0) & DQUOT_LIMITS_ENABLED) !== 0;
}
