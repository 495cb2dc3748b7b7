/** ACLs as extended attributes: the binary form that user space and disks use (include/uapi/linux/posix_acl_xattr.h). */

import { errno } from '../sched/errno.js';
import { ACL_GROUP, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER, ACL_USER, ACL_USER_OBJ } from '../uapi/posix-acl.js';
import type { PosixAcl, PosixAclEntry } from './posix-acl-types.js';

export const XATTR_NAME_POSIX_ACL_ACCESS = 'system.posix_acl_access';
export const XATTR_NAME_POSIX_ACL_DEFAULT = 'system.posix_acl_default';

const VERSION = 2;
const HEADER = 4;
const ENTRY = 8;
const UNDEFINED_ID = 0xffffffff;

/**
 * Read a list (posix_acl_from_xattr). @returns undefined for a list without entries, which stands for none
 * @throws EINVAL for a length or an entry that cannot be; EOPNOTSUPP for another version
 */
export function posix_acl_from_xattr(value: Buffer): PosixAcl | undefined {
  if (value.length < HEADER) throw errno('EINVAL');
  if (value.readUInt32LE(0) !== VERSION) throw errno('EOPNOTSUPP');
  if ((value.length - HEADER) % ENTRY !== 0) throw errno('EINVAL');
  const acl: PosixAclEntry[] = [];
  for (let at = HEADER; at < value.length; at += ENTRY) {
    const tag = value.readUInt16LE(at);
    const perm = value.readUInt16LE(at + 2);
    const id = value.readUInt32LE(at + 4);
    switch (tag) {
      case ACL_USER_OBJ:
      case ACL_GROUP_OBJ:
      case ACL_MASK:
      case ACL_OTHER:
        acl.push({ tag, perm, id: undefined });
        break;
      case ACL_USER:
      case ACL_GROUP:
        if (id === UNDEFINED_ID) throw errno('EINVAL');
        acl.push({ tag, perm, id });
        break;
      default:
        throw errno('EINVAL');
    }
  }
  return acl.length === 0 ? undefined : acl;
}

/** Write a list (posix_acl_to_xattr). */
export function posix_acl_to_xattr(acl: PosixAcl): Buffer {
  const value = Buffer.alloc(HEADER + acl.length * ENTRY);
  value.writeUInt32LE(VERSION, 0);
  acl.forEach(({ tag, perm, id }, i) => {
    const at = HEADER + i * ENTRY;
    value.writeUInt16LE(tag, at);
    value.writeUInt16LE(perm, at + 2);
    value.writeUInt32LE(id ?? UNDEFINED_ID, at + 4);
  });
  return value;
}
