/** POSIX access control lists: what they allow, and how mode bits and lists follow each other (fs/posix_acl.c). */

import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { ACL_GROUP, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER, ACL_USER, ACL_USER_OBJ } from '../uapi/posix-acl.js';
import { S_IRWXUGO } from '../uapi/stat.js';
import type { Inode } from './inode.js';
import type { PosixAcl, PosixAclEntry } from './posix-acl-types.js';

const RWX = 7;

function entry(tag: number, perm: number, id?: number): PosixAclEntry {
  return { tag, perm, id };
}

/**
 * Whether a list is one: the three entries of the mode once each, users and groups in order, a mask where there are any (posix_acl_valid).
 * @throws EINVAL
 */
export function posix_acl_valid(acl: PosixAcl): void {
  const seen = new Set<string>();
  let before = 0;
  let named = false;
  for (const { tag, perm, id } of acl) {
    if ((perm & ~RWX) !== 0 || tag < before) throw errno('EINVAL');
    before = tag;
    const isNamed = tag === ACL_USER || tag === ACL_GROUP;
    named ||= isNamed;
    if (isNamed ? id === undefined : !isSingle(tag)) throw errno('EINVAL');
    const key = isNamed ? `${tag}:${id}` : `${tag}`;
    // The kernel lets an id come twice: the first entry of it counts.
    if (!isNamed && seen.has(key)) throw errno('EINVAL');
    seen.add(key);
  }
  const complete = [ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER].every((tag) => seen.has(`${tag}`));
  if (!complete || (named && !seen.has(`${ACL_MASK}`))) throw errno('EINVAL');
}

function isSingle(tag: number): boolean {
  return tag === ACL_USER_OBJ || tag === ACL_GROUP_OBJ || tag === ACL_MASK || tag === ACL_OTHER;
}

/** The list that says the same as permission bits (posix_acl_from_mode). */
export function posix_acl_from_mode(mode: number): PosixAcl {
  return [
    entry(ACL_USER_OBJ, (mode >> 6) & RWX),
    entry(ACL_GROUP_OBJ, (mode >> 3) & RWX),
    entry(ACL_OTHER, mode & RWX),
  ];
}

/**
 * The permission bits that a list shows, and whether they say all that it says (posix_acl_equiv_mode). The group bits are those of the mask
 * where there is one.
 */
export function posix_acl_equiv_mode(acl: PosixAcl): { readonly mode: number; readonly equivalent: boolean } {
  let mode = 0;
  let equivalent = true;
  for (const { tag, perm } of acl) {
    if (tag === ACL_USER_OBJ) mode |= perm << 6;
    else if (tag === ACL_GROUP_OBJ) mode |= perm << 3;
    else if (tag === ACL_OTHER) mode |= perm;
    else {
      if (tag === ACL_MASK) mode = (mode & ~0o070) | (perm << 3);
      equivalent = false;
    }
  }
  return { mode, equivalent };
}

/**
 * Whether the list allows the caller what `want` asks for (posix_acl_permission): the first of owner, named users, groups and others that
 * the caller is decides; of several groups one that allows it is enough.
 * @param want MAY_READ, MAY_WRITE, MAY_EXEC
 * @throws EIO for a list that is none
 */
export function posix_acl_permission(task: Task, inode: Inode, acl: PosixAcl, want: number): boolean {
  const { cred } = task;
  const isMember = (gid: number): boolean => cred.gid === gid || cred.groups().includes(gid);
  const mask = acl.find(({ tag }) => tag === ACL_MASK)?.perm ?? RWX;
  let inGroup = false;
  for (const { tag, perm, id } of acl) {
    switch (tag) {
      case ACL_USER_OBJ:
        // The mask does not concern the owner.
        if (inode.i_uid === cred.uid) return (perm & want) === want;
        break;
      case ACL_USER:
        if (id === cred.uid) return (perm & mask & want) === want;
        break;
      case ACL_GROUP_OBJ:
      case ACL_GROUP:
        if (isMember(tag === ACL_GROUP_OBJ ? inode.i_gid : (id ?? Number.NaN))) {
          inGroup = true;
          if ((perm & want) === want) return (perm & mask & want) === want;
        }
        break;
      case ACL_MASK:
        break;
      case ACL_OTHER:
        return !inGroup && (perm & want) === want;
      default:
        throw errno('EIO');
    }
  }
  throw errno('EIO');
}

/**
 * What a new file gets of its directory's default list: the list cut to the mode that was asked for, and the mode cut to the list
 * (posix_acl_create_masq). @throws EIO for a list that is none
 */
export function posix_acl_create_masq(
  acl: PosixAcl,
  asked: number,
): { readonly acl: PosixAcl; readonly mode: number; readonly equivalent: boolean } {
  let mode = asked;
  let equivalent = true;
  const masked = new Map<PosixAclEntry, number>();
  let groupObj: PosixAclEntry | undefined;
  let mask: PosixAclEntry | undefined;
  for (const item of acl) {
    if (item.tag === ACL_USER_OBJ) {
      masked.set(item, item.perm & ((mode >> 6) | ~RWX));
      mode &= (item.perm << 6) | ~0o700;
    } else if (item.tag === ACL_OTHER) {
      masked.set(item, item.perm & (mode | ~RWX));
      mode &= item.perm | ~RWX;
    } else if (item.tag === ACL_GROUP_OBJ) groupObj = item;
    else {
      if (item.tag === ACL_MASK) mask = item;
      equivalent = false;
    }
  }
  const group = mask ?? groupObj;
  if (group === undefined) throw errno('EIO');
  masked.set(group, group.perm & ((mode >> 3) | ~RWX));
  mode &= (group.perm << 3) | ~0o070;
  const result = acl.map((item) => entry(item.tag, masked.get(item) ?? item.perm, item.id));
  return { acl: result, mode: (asked & ~S_IRWXUGO) | (mode & S_IRWXUGO), equivalent };
}

/** The list after chmod: owner, others, and the mask, or the group where there is no mask (__posix_acl_chmod). @throws EIO */
export function posix_acl_chmod_masq(acl: PosixAcl, mode: number): PosixAcl {
  const hasMask = acl.some(({ tag }) => tag === ACL_MASK);
  if (!hasMask && !acl.some(({ tag }) => tag === ACL_GROUP_OBJ)) throw errno('EIO');
  return acl.map(({ tag, perm, id }) => {
    if (tag === ACL_USER_OBJ) return entry(tag, (mode >> 6) & RWX);
    if (tag === (hasMask ? ACL_MASK : ACL_GROUP_OBJ)) return entry(tag, (mode >> 3) & RWX);
    if (tag === ACL_OTHER) return entry(tag, mode & RWX);
    return entry(tag, perm, id);
  });
}
