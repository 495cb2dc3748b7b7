/** Extended attributes (include/uapi/linux/xattr.h, limits.h). */
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;
/** Bytes of the longest name, its prefix with it. */
export const XATTR_NAME_MAX = 255;
/** Bytes of one value, and of one list of names. */
export const XATTR_SIZE_MAX = 65536;
