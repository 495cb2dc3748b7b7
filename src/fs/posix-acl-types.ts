/** POSIX access control lists (struct posix_acl). */
export interface PosixAclEntry {
  /** ACL_USER_OBJ 1, ACL_USER 2, ACL_GROUP_OBJ 4, ACL_GROUP 8, ACL_MASK 16, ACL_OTHER 32. */
  readonly tag: number;
  /** rwx bits. */
  readonly perm: number;
  /** uid or gid for ACL_USER and ACL_GROUP, else undefined. */
  readonly id: number | undefined;
}

/** Sorted by tag, then id. */
export type PosixAcl = readonly PosixAclEntry[];

/** In the place of a list that is kept in memory: none may be, the filesystem is asked each time (ACL_DONT_CACHE). */
export const ACL_DONT_CACHE: PosixAcl = [];
