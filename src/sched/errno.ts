/** The error numbers of Linux, and the exception that carries one up to the system-call boundary. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  ENOTBLK: 15,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  EDOM: 33,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  EBADE: 52,
  EBADR: 53,
  ENODATA: 61,
  ETIME: 62,
  EPROTO: 71,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EUSERS: 87,
  EOPNOTSUPP: 95,
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  EALREADY: 114,
  EINPROGRESS: 115,
  ESTALE: 116,
  EDQUOT: 122,
  ECANCELED: 125,
  ENOTCONN: 107,
  ECONNABORTED: 103,
} as const;

export type ErrnoName = keyof typeof ERRNO;

/**
 * A failed operation. It has no stack of its own: an errno is an answer, not a bug, and capturing a stack costs more
 * than most operations that fail.
 */
export class Errno extends Error {
  /** The symbolic name, for example 'ENOENT'. */
  readonly code: ErrnoName;
  /** The positive number. */
  readonly errno: number;

  constructor(code: ErrnoName, message?: string) {
    super(message === undefined ? code : `${code}: ${message}`);
    this.code = code;
    this.errno = ERRNO[code];
  }
}

/** Those without detail are all alike, and each is made once: failing is a part of ordinary work (a lookup, an attribute that is not there). */
const plain = new Map<ErrnoName, Errno>();

/** Make an errno to throw. `detail` is for logs; the caller of the system call sees only the number. */
export function errno(code: ErrnoName, detail?: string): Errno {
  if (detail !== undefined) return create(code, detail);
  let known = plain.get(code);
  if (known === undefined) {
    known = create(code, undefined);
    plain.set(code, known);
  }
  return known;
}

function create(code: ErrnoName, detail: string | undefined): Errno {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return new Errno(code, detail);
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/** The errno of anything that was thrown: EIO for what is not an errno, because a bug must not look like success. */
export function errnoOf(error: unknown): number {
  return error instanceof Errno ? error.errno : ERRNO.EIO;
}

/** True where `error` is the given errno. */
export function isErrno(error: unknown, code: ErrnoName): error is Errno {
  return error instanceof Errno && error.code === code;
}

/** What was thrown as an errno: system errors of Node have theirs by name, and anything else is EIO. The message says once what is wrong. */
export function asErrno(error: unknown): Errno {
  if (error instanceof Errno) return error;
  if (!(error instanceof Error)) return errno('EIO', String(error));
  const code = 'code' in error && typeof error.code === 'string' && error.code in ERRNO ? error.code : undefined;
  if (code === undefined) return errno('EIO', error.name === 'Error' ? error.message : String(error));
  return errno(code as ErrnoName, error.message.replace(`${code}: `, ''));
}
