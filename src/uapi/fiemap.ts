/** FS_IOC_FIEMAP (include/uapi/linux/fiemap.h). */
export const FIEMAP_FLAG_SYNC = 1;
export const FIEMAP_FLAG_XATTR = 2;
export const FIEMAP_EXTENT_LAST = 0x1;
export const FIEMAP_EXTENT_UNWRITTEN = 0x800;
