/** Access control lists of latch: attributes system.posix_acl_access and system.posix_acl_default, in the form that user space knows. */
import type { Dentry } from '../fs/dentry.js';
import { I_DIRTY_SYNC, type Inode, inode_attrs } from '../fs/inode.js';
import { mark_inode_dirty } from '../fs/inode-dirty.js';
import type { AclType } from '../fs/operations.js';
import { type CreatedAcls, posix_acl_update_mode, set_cached_acl } from '../fs/posix-acl-ops.js';
import type { PosixAcl } from '../fs/posix-acl-types.js';
import {
  posix_acl_from_xattr,
  posix_acl_to_xattr,
  XATTR_NAME_POSIX_ACL_ACCESS,
  XATTR_NAME_POSIX_ACL_DEFAULT,
} from '../fs/posix-acl-xattr.js';
import { IS_SYNC } from '../fs/sync-flags.js';
import { inode_set_ctime_current } from '../fs/time.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { getAttribute, putAttribute } from './xattr.js';

function nameOf(type: AclType): string {
  return type === 'access' ? XATTR_NAME_POSIX_ACL_ACCESS : XATTR_NAME_POSIX_ACL_DEFAULT;
}

/** ->get_inode_acl. At once where the inode has no attributes. @throws EIO; ECHILD in an RCU walk where it would have to read */
export function latch_get_inode_acl(
  task: Task,
  given: Inode,
  type: AclType,
  rcu: boolean,
): Awaitable<PosixAcl | undefined> {
  const inode = latchInode(given);
  if (inode.xattrBlock === 0) return undefined;
  if (rcu) throw errno('ECHILD');
  return read(task, inode, type);
}

/** ->get_acl, for the attribute of a file: as it is stored. @throws EIO */
export function latch_get_acl(task: Task, { d_inode }: Dentry, type: AclType): Awaitable<PosixAcl | undefined> {
  if (d_inode === undefined) throw errno('ENOENT');
  const inode = latchInode(d_inode);
  return inode.xattrBlock === 0 ? undefined : read(task, inode, type);
}

async function read(task: Task, inode: LatchInode, type: AclType): Promise<PosixAcl | undefined> {
  const value = await getAttribute(task, inode, nameOf(type));
  return value === undefined ? undefined : posix_acl_from_xattr(value);
}

/** ->set_acl: the list, and for an access list the mode that it implies. With i_rwsem held exclusively. @throws ENOSPC EIO */
export async function latch_set_acl(
  task: Task,
  dentry: Dentry,
  acl: PosixAcl | undefined,
  type: AclType,
): Promise<void> {
  const { d_inode: given } = dentry;
  if (given === undefined) throw errno('ENOENT');
  const inode = latchInode(given);
  const access = type === 'access' && acl !== undefined ? posix_acl_update_mode(task, inode, acl) : undefined;
  const stored = access === undefined ? acl : access.acl;
  await with_handle(task, infoOf(inode.i_sb), async (handle) => {
    if (IS_SYNC(inode)) handle.sync = true;
    await store(task, handle, inode, stored, type);
    if (access !== undefined) inode_attrs(task, inode).i_mode = access.mode;
    inode_set_ctime_current(inode);
    await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
  });
}

async function store(
  task: Task,
  handle: Handle,
  inode: LatchInode,
  acl: PosixAcl | undefined,
  type: AclType,
): Promise<void> {
  const value = acl === undefined ? undefined : posix_acl_to_xattr(acl);
  await putAttribute(task, handle, inode, nameOf(type), value);
  set_cached_acl(inode, type, acl);
}

/** What init_acl needs of credits beyond those of making a file. */
export function acl_credits(created: CreatedAcls): number {
  return created.acl === undefined && created.default_acl === undefined ? 0 : 2 * CREDITS;
}

/** Give a fresh inode the lists that it starts with (ext4_init_acl). */
export function init_acl(task: Task, handle: Handle, inode: LatchInode, created: CreatedAcls): Awaitable<void> {
  if (created.default_acl !== undefined || created.acl !== undefined) return store_acls(task, handle, inode, created);
  set_cached_acl(inode, 'default', undefined);
  set_cached_acl(inode, 'access', undefined);
  return undefined;
}

async function store_acls(task: Task, handle: Handle, inode: LatchInode, created: CreatedAcls): Promise<void> {
  if (created.default_acl === undefined) set_cached_acl(inode, 'default', undefined);
  else await store(task, handle, inode, created.default_acl, 'default');
  if (created.acl === undefined) set_cached_acl(inode, 'access', undefined);
  else await store(task, handle, inode, created.acl, 'access');
}
