/** The requests of ioctl(2): of files (include/uapi/linux/fs.h, fiemap.h, falloc.h), of block devices (include/uapi/linux/fs.h, hdreg.h), of loop devices (loop.h). */
export const FIBMAP = 1;
export const FIGETBSZ = 2;
export const FIONREAD = 0x541b;
export const FS_IOC_GETFLAGS = 0x80086601;
export const FS_IOC_SETFLAGS = 0x40086602;
/** The same from a process of 32 bits. */
export const FS_IOC32_GETFLAGS = 0x80046601;
export const FS_IOC32_SETFLAGS = 0x40046602;
export const FS_IOC_GETVERSION = 0x80087601;
export const FS_IOC_SETVERSION = 0x40087602;
export const FS_IOC_GETFSUUID = 0x80111500;
export const FS_IOC_GETFSLABEL = 0x81009431;
export const FS_IOC_SETFSLABEL = 0x41009432;
export const FS_IOC_FSGETXATTR = 0x801c581f;
export const FS_IOC_FSSETXATTR = 0x401c5820;
export const FS_IOC_FIEMAP = 0xc020660b;
export const FIFREEZE = 0xc0045877;
export const FITHAW = 0xc0045878;
export const FITRIM = 0xc0185879;
export const FS_IOC_SHUTDOWN = 0x8004587d;
export const FICLONE = 0x40049409;
export const FICLONERANGE = 0x4020940d;
export const FIDEDUPERANGE = 0xc0189436;
export const FS_IOC_RESVSP = 0x40305828;
export const FS_IOC_RESVSP64 = 0x4030582a;
export const FS_IOC_UNRESVSP = 0x40305829;
export const FS_IOC_UNRESVSP64 = 0x4030582b;
export const FS_IOC_ZERO_RANGE = 0x40305839;

export const BLKROGET = 0x125e;
export const BLKGETSIZE = 0x1260;
export const BLKFLSBUF = 0x1261;
export const BLKSSZGET = 0x1268;
export const BLKDISCARD = 0x1277;
export const BLKZEROOUT = 0x127f;
export const BLKPBSZGET = 0x127b;
export const BLKBSZGET = 0x80081270;
export const BLKGETSIZE64 = 0x80081272;
/** Read the partition table again: here, look how large the device is by now. */
export const BLKRRPART = 0x125f;
export const HDIO_GETGEO = 0x0301;
/** BLKBSZGET and BLKGETSIZE64 with the size of a 32-bit pointer in their number. */
export const BLKBSZGET_32 = 0x80041270;
export const BLKGETSIZE64_32 = 0x80041272;

export const LOOP_CTL_GET_FREE = 0x4c82;
export const LOOP_CONFIGURE = 0x4c0a;
export const LOOP_GET_STATUS64 = 0x4c05;
/** lo_flags of a loop device. */
export const LO_FLAGS_READ_ONLY = 1;
export const LO_FLAGS_AUTOCLEAR = 4;
