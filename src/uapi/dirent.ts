/** The types of directory entries: those of i_mode, shifted (include/linux/fs_types.h). */
export const DT_CHR = 2;
export const DT_DIR = 4;
export const DT_REG = 8;
export const DT_LNK = 10;
