/** What a write, a truncation and a change of owner take away: setuid, setgid and file capabilities (fs/attr.c, security/commoncap.c). */

import { inode_operations } from '../contract/inode.js';
import { xattr_handler as xattr_rows } from '../contract/xattr.js';
import { call, invoke, take } from '../locking/context.js';
import { type Awaitable, andThen, orElse, withCleanup } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Timespec } from '../sched/time.js';
import { S_IALLUGO, S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_IXGRP } from '../uapi/stat.js';
import type { Dentry } from './dentry.js';
import { I_MUTEX_NORMAL, type Inode, inode_attrs, inode_set_nosec, isDir, S_NOSEC } from './inode.js';
import { inGroup } from './inode-owner.js';
import type { xattr_handler } from './operations.js';
import type { Iattr } from './types.js';

const SECURITY = 'security.';
const CAPABILITY = 'capability';

/**
 * The mode of `inode` without setuid, and without setgid where it means something (the group may execute) or the caller is not of the group
 * (setattr_should_drop_suidgid). @returns permission bits, of a directory unchanged
 */
export function mode_without_suidgid(task: Task, inode: Inode): number {
  const mode = inode.i_mode & S_IALLUGO;
  if (isDir(inode) || (mode & (S_ISUID | S_ISGID)) === 0) return mode;
  const keepsGroup = (mode & S_ISGID) === 0 || ((mode & S_IXGRP) === 0 && inGroup(task, inode.i_gid));
  return mode & ~(keepsGroup ? S_ISUID : S_ISUID | S_ISGID);
}

/**
 * A write takes setuid and setgid away, with i_rwsem held exclusively (file_remove_privs).
 * @param kill whether it does; by default of writers without CAP_FSETID
 */
export function file_remove_suid(
  task: Task,
  dentry: Dentry,
  inode: Inode,
  kill = !task.cred.capable('CAP_FSETID'),
): Promise<void> | undefined {
  if (!kill || (inode.i_mode & S_IFMT) !== S_IFREG) return undefined;
  const mode = mode_without_suidgid(task, inode);
  if (mode === (inode.i_mode & S_IALLUGO)) return undefined;
  const { setattr } = inode.i_op;
  if (setattr === undefined) throw errno('EPERM');
  const attr: Iattr = { mode, force: true };
  const done = call(task, inode_operations.setattr, { inode: inode.i_rwsem }, () => setattr(task, dentry, attr));
  return done instanceof Promise ? done : undefined;
}

/** As file_remove_suid, for callers that do not hold i_rwsem: takes it exclusively. */
export function file_remove_privs(task: Task, dentry: Dentry, inode: Inode): Awaitable<void> {
  if (isDir(inode)) return undefined;
  return andThen(file_kill_caps(task, dentry, inode), () => {
    if (mode_without_suidgid(task, inode) === (inode.i_mode & S_IALLUGO)) return undefined;
    return andThen(take(task, inode_operations.setattr, 'inode', inode.i_rwsem, I_MUTEX_NORMAL), (held) =>
      withCleanup(
        () => file_remove_suid(task, dentry, inode, true),
        () => held.release(),
      ),
    );
  });
}

type Get = NonNullable<xattr_handler['get']>;

function securityHandler(inode: Inode): xattr_handler | undefined {
  return inode.i_sb.s_xattr.find((handler) => handler.prefix === SECURITY);
}

/**
 * Whether the file has capabilities (cap_inode_need_killpriv). The answer no is kept, as S_NOSEC, until somebody sets some. Asks the
 * filesystem without i_rwsem, as the row of xattr_handler.get demands.
 */
export function has_caps(task: Task, dentry: Dentry, inode: Inode): Awaitable<boolean> {
  if ((inode.i_flags & S_NOSEC) !== 0) return false;
  const { i_ctime: since } = inode;
  const get = (inode.i_mode & S_IFMT) === S_IFREG ? securityHandler(inode)?.get : undefined;
  if (get === undefined) return none(task, inode, since);
  return orElse(ask, noneIfImpossible, task, inode, since, get, dentry);
}

function ask(task: Task, inode: Inode, since: Timespec, get: Get, dentry: Dentry): Awaitable<boolean> {
  const participants = { inode: inode.i_rwsem };
  const value = invoke(task, xattr_rows.get, participants, get, dentry, inode, CAPABILITY);
  return andThen(value, isThere, task, inode, since);
}

function isThere(value: Buffer | undefined, task: Task, inode: Inode, since: Timespec): boolean {
  return value !== undefined || none(task, inode, since);
}

function none(task: Task, inode: Inode, since: Timespec): false {
  inode_set_nosec(task, inode, since);
  return false;
}

function noneIfImpossible(error: unknown, task: Task, inode: Inode, since: Timespec): false {
  if (isErrno(error, 'EOPNOTSUPP')) return none(task, inode, since);
  throw error;
}

/** Take the capabilities of a file away, i_rwsem held exclusively (cap_inode_killpriv). */
export function remove_caps(task: Task, dentry: Dentry, inode: Inode): Awaitable<void> {
  const set = securityHandler(inode)?.set;
  if (set === undefined) return undefined;
  const done = (): undefined => {
    inode_attrs(task, inode).i_flags |= S_NOSEC;
    return undefined;
  };
  const failed = (error: unknown): undefined => {
    if (!isErrno(error, 'ENODATA')) throw error;
    return done();
  };
  try {
    const removed = call(task, xattr_rows.set, { inode: inode.i_rwsem }, () =>
      set(task, dentry, inode, CAPABILITY, undefined, 0),
    );
    return removed instanceof Promise ? removed.then(done, failed) : done();
  } catch (error) {
    return failed(error);
  }
}

/** A write takes file capabilities away, whoever writes. Takes i_rwsem exclusively where there are some. */
export function file_kill_caps(task: Task, dentry: Dentry, inode: Inode): Awaitable<void> {
  return andThen(has_caps(task, dentry, inode), (found) => {
    if (!found) return undefined;
    return andThen(take(task, xattr_rows.set, 'inode', inode.i_rwsem, I_MUTEX_NORMAL), (held) =>
      withCleanup(
        () => remove_caps(task, dentry, inode),
        () => held.release(),
      ),
    );
  });
}
