/** Getting, setting and inheriting the ACLs of inodes (fs/posix_acl.c). */

import { inode_operations } from '../contract/inode.js';
import { xattr_handler as xattr_rows } from '../contract/xattr.js';
import { invoke, take } from '../locking/context.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { S_IFLNK, S_IFMT, S_ISGID } from '../uapi/stat.js';
import type { Dentry } from './dentry.js';
import { I_MUTEX_NORMAL, type Inode, isDir, S_APPEND, S_IMMUTABLE } from './inode.js';
import { inGroup, inode_owner_or_capable } from './inode-owner.js';
import { try_break_deleg, waiting_for_delegations } from './locks/break-lease.js';
import type { AclType, inode_operations as inode_ops } from './operations.js';
import { posix_acl_chmod_masq, posix_acl_create_masq, posix_acl_equiv_mode, posix_acl_valid } from './posix-acl.js';
import { ACL_DONT_CACHE, type PosixAcl } from './posix-acl-types.js';
import { SB_POSIXACL } from './super-block.js';
import { withWrite } from './super-freeze.js';

function isSymlink(mode: number): boolean {
  return (mode & S_IFMT) === S_IFLNK;
}

function hasAcls(inode: Inode): boolean {
  return (inode.i_sb.s_flags & SB_POSIXACL) !== 0;
}

/** The list that is kept in memory: null where the file is known to have none, undefined where nobody has looked (get_cached_acl). */
export function get_cached_acl(inode: Inode, type: AclType): PosixAcl | null | undefined {
  const kept = keptAcl(inode, type);
  return kept === ACL_DONT_CACHE ? undefined : kept;
}

function keptAcl(inode: Inode, type: AclType): PosixAcl | null | undefined {
  return type === 'access' ? inode.i_acl : inode.i_default_acl;
}

/**
 * As get_inode_acl in an RCU walk, where only a filesystem whose lists are not kept is asked (get_cached_acl_rcu).
 * @throws ECHILD where that is not known without a wait
 */
export function get_acl_rcu(task: Task, inode: Inode, type: AclType): PosixAcl | null {
  const kept = keptAcl(inode, type);
  if (kept !== ACL_DONT_CACHE && kept !== undefined) return kept;
  const { get_inode_acl: op } = inode.i_op;
  if (kept === undefined || op === undefined) throw errno('ECHILD');
  const participants = { walk: inode.i_sb.rcu };
  const asked = invoke(task, inode_operations.get_inode_acl, participants, op, inode, type, true);
  if (asked instanceof Promise) throw errno('ECHILD');
  return asked ?? null;
}

/** Keep a list in memory; undefined: there is none (set_cached_acl). */
export function set_cached_acl(inode: Inode, type: AclType, acl: PosixAcl | undefined): void {
  if (type === 'access') inode.i_acl = acl ?? null;
  else inode.i_default_acl = acl ?? null;
}

/** Forget what is kept in memory: the filesystem is asked again (forget_all_cached_acls). */
export function forget_all_cached_acls(inode: Inode): void {
  inode.i_acl = undefined;
  inode.i_default_acl = undefined;
}

/**
 * The list of an inode from memory or from ->get_inode_acl, and kept in memory (get_inode_acl).
 * @param byName a path led to it, so that i_rwsem is not held
 * @returns undefined where there is none, or the filesystem has no lists
 */
export function get_inode_acl(
  task: Task,
  inode: Inode,
  type: AclType,
  byName = false,
): Awaitable<PosixAcl | undefined> {
  if (!hasAcls(inode)) return undefined;
  const known = get_cached_acl(inode, type);
  if (known !== undefined) return known ?? undefined;
  const { get_inode_acl: op } = inode.i_op;
  if (op === undefined) return keep(inode, type, undefined);
  const participants = byName ? { inode: inode.i_rwsem } : {};
  const asked = invoke(task, inode_operations.get_inode_acl, participants, op, inode, type, false);
  return andThen(asked, keepGot, inode, type);
}

/** As get_inode_acl, for who came by a name: ->get_acl is asked where the filesystem has it (__get_acl). */
function get_acl(task: Task, dentry: Dentry, inode: Inode, type: AclType): Awaitable<PosixAcl | undefined> {
  const { get_acl: op } = inode.i_op;
  if (op === undefined || get_cached_acl(inode, type) !== undefined) return get_inode_acl(task, inode, type, true);
  const asked = invoke(task, inode_operations.get_acl, { inode: inode.i_rwsem }, op, dentry, type);
  return andThen(asked, keepGot, inode, type);
}

function keepGot(acl: PosixAcl | undefined, inode: Inode, type: AclType): PosixAcl | undefined {
  return keep(inode, type, acl);
}

/** Keep in memory what the filesystem has said, unless somebody set one meanwhile, who knows better. */
function keep(inode: Inode, type: AclType, acl: PosixAcl | undefined): PosixAcl | undefined {
  if (keptAcl(inode, type) === undefined) set_cached_acl(inode, type, acl);
  return acl;
}

/**
 * The list of a file as its attribute shows it (vfs_get_acl).
 * @throws ENODATA where there is none; EOPNOTSUPP where there cannot be; ENOENT for a negative dentry
 */
export function vfs_get_acl(task: Task, dentry: Dentry, type: AclType): Awaitable<PosixAcl> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  if (!hasAcls(inode) || isSymlink(inode.i_mode)) throw errno('EOPNOTSUPP');
  return andThen(get_acl(task, dentry, inode, type), (acl) => {
    if (acl === undefined) throw errno('ENODATA');
    return acl;
  });
}

/**
 * Give a file another list; undefined removes it (vfs_set_acl, vfs_remove_acl). Takes i_rwsem exclusively, as for every attribute.
 * @throws EINVAL for what is no list; EACCES for a default list of what is no directory; EPERM unless the caller owns the file;
 * EOPNOTSUPP EROFS ENOSPC; ENOENT for a negative dentry
 */
export function vfs_set_acl(task: Task, dentry: Dentry, acl: PosixAcl | undefined, type: AclType): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  if (acl !== undefined) posix_acl_valid(acl);
  return waiting_for_delegations(setOnce, task, dentry, inode, acl, type);
}

function setOnce(task: Task, dentry: Dentry, inode: Inode, acl: PosixAcl | undefined, type: AclType): Awaitable<void> {
  return withWrite(task, inode.i_sb, () =>
    andThen(take(task, xattr_rows.set, 'inode', inode.i_rwsem, I_MUTEX_NORMAL), (held) =>
      withCleanup(
        () => setLocked(task, dentry, inode, acl, type),
        () => held.release(),
      ),
    ),
  );
}

function setLocked(
  task: Task,
  dentry: Dentry,
  inode: Inode,
  acl: PosixAcl | undefined,
  type: AclType,
): Awaitable<void> {
  if ((inode.i_flags & (S_IMMUTABLE | S_APPEND)) !== 0) throw errno('EPERM');
  if (!hasAcls(inode) || isSymlink(inode.i_mode)) throw errno('EOPNOTSUPP');
  const { set_acl } = inode.i_op;
  if (set_acl === undefined) throw errno('EOPNOTSUPP');
  if (type === 'default' && !isDir(inode)) {
    if (acl !== undefined) throw errno('EACCES');
    return undefined;
  }
  if (!task.permitted && !inode_owner_or_capable(task, inode)) throw errno('EPERM');
  try_break_deleg(task, inode);
  return set_acl(task, dentry, acl, type);
}

/**
 * What a filesystem's set_acl stores of a new access list (posix_acl_update_mode): the mode that it implies, and the list only if it says
 * more than the mode. The setgid bit goes with a caller who may not give it.
 */
export function posix_acl_update_mode(
  task: Task,
  inode: Inode,
  acl: PosixAcl,
): { readonly mode: number; readonly acl: PosixAcl | undefined } {
  const { mode: bits, equivalent } = posix_acl_equiv_mode(acl);
  let mode = (inode.i_mode & ~0o777) | bits;
  if (!inGroup(task, inode.i_gid)) mode &= ~S_ISGID;
  return { mode, acl: equivalent ? undefined : acl };
}

/**
 * chmod of a file with an access list: the list follows the mode (posix_acl_chmod). For a filesystem's setattr, after i_mode was set, with
 * i_rwsem held exclusively.
 */
export function posix_acl_chmod(task: Task, dentry: Dentry, mode: number): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined || !hasAcls(inode) || isSymlink(mode)) return undefined;
  const { set_acl } = inode.i_op;
  if (set_acl === undefined) return undefined;
  return andThen(get_inode_acl(task, inode, 'access'), chmodAcl, task, dentry, mode, set_acl);
}

function chmodAcl(
  acl: PosixAcl | undefined,
  task: Task,
  dentry: Dentry,
  mode: number,
  set_acl: NonNullable<inode_ops['set_acl']>,
): Awaitable<void> {
  return acl === undefined ? undefined : set_acl(task, dentry, posix_acl_chmod_masq(acl, mode), 'access');
}

/** What a new inode starts with. */
export interface CreatedAcls {
  /** Type and permission bits. */
  readonly mode: number;
  /** Absent where the mode says it all. */
  readonly acl: PosixAcl | undefined;
  readonly default_acl: PosixAcl | undefined;
}

/**
 * Mode and lists of a new file in `dir`, whose i_rwsem is held (posix_acl_create): a default list of the directory takes the place of the
 * umask, else the umask applies.
 * @param mode type and permission bits asked for, not yet cut by the umask
 */
export function posix_acl_create(task: Task, dir: Inode, mode: number): Awaitable<CreatedAcls> {
  if (isSymlink(mode) || !hasAcls(dir)) return plain(task, mode);
  return andThen(get_inode_acl(task, dir, 'default'), inherit, task, mode);
}

function inherit(inherited: PosixAcl | undefined, task: Task, mode: number): CreatedAcls {
  if (inherited === undefined) return plain(task, mode);
  const cut = posix_acl_create_masq(inherited, mode);
  return {
    mode: cut.mode,
    acl: cut.equivalent ? undefined : cut.acl,
    default_acl: (mode & S_IFMT) === 0o040000 ? inherited : undefined,
  };
}

function plain(task: Task, mode: number): CreatedAcls {
  const cut = isSymlink(mode) ? mode : mode & ~task.umask;
  return { mode: cut, acl: undefined, default_acl: undefined };
}
