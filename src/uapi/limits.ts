/** How long names and paths may be, and how much of a pipe is written at once (include/uapi/linux/limits.h). */
/** Bytes of the longest name of a file, and of the longest path with the zero behind it. */
export const NAME_MAX = 255;
export const PATH_MAX = 4096;
/** A write to a pipe of up to so many bytes is not mixed with others'. */
export const PIPE_BUF = 4096;
