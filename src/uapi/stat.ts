/** The bits of i_mode (include/uapi/linux/stat.h, include/linux/stat.h). */

/** What kind of file it is. */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

/** Programs run as their owner, or with their group, which is what S_ISGID passes on in a directory; S_ISVTX keeps names in a directory for their owners. */
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;

/** Permission bits, and all that chmod can set. */
export const S_IRWXUGO = 0o777;
export const S_IALLUGO = 0o7777;
export const S_IRWXG = 0o070;
export const S_IXGRP = 0o010;

/** stx_attributes of statx(2). */
export const STATX_ATTR_COMPRESSED = 0x4;
export const STATX_ATTR_IMMUTABLE = 0x10;
export const STATX_ATTR_APPEND = 0x20;
export const STATX_ATTR_NODUMP = 0x40;
