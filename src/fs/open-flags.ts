/** The flags of open(2) and fcntl(F_SETFL) on Linux (include/uapi/asm-generic/fcntl.h). */
export const O_ACCMODE = 0o3;
export const O_WRONLY = 0o1;
export const O_RDWR = 0o2;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_DSYNC = 0o10000;
export const FASYNC = 0o20000;
export const O_DIRECT = 0o40000;
export const O_NOATIME = 0o1000000;
/** Contains O_DSYNC, as in the kernel. */
export const O_SYNC = 0o4010000;
