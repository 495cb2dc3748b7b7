/** The commands of quotactl(2) (include/uapi/linux/quota.h). */
export const Q_SYNC = 0x800001;
export const Q_QUOTAON = 0x800002;
export const Q_QUOTAOFF = 0x800003;
export const Q_GETFMT = 0x800004;
export const Q_GETINFO = 0x800005;
export const Q_SETINFO = 0x800006;
export const Q_GETQUOTA = 0x800007;
export const Q_SETQUOTA = 0x800008;
export const Q_GETNEXTQUOTA = 0x800009;
