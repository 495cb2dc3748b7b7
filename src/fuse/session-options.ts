/** What can be chosen of a session, and what it asks of the kernel at INIT. */
import type { InitWishes } from './init.js';
import { INIT, INIT2 } from './protocol/flags.js';

/** How much the kernel may cache: nothing, names and data that we invalidate, also dirty data. */
export type CacheMode = 'none' | 'auto' | 'always';

export interface SessionOptions {
  readonly cache: CacheMode;
  /** Seconds for which names and attributes stay valid. */
  readonly validity: number;
  readonly readOnly: boolean;
  /**
   * Whether O_DIRECT goes past our own page cache, too. The kernel's it always passes by. Where the device is memory there is nothing that it would bring
   * the data closer to.
   */
  readonly direct: boolean;
  /** There are files whose contents nobody may cache, so that each must be opened (.latchfs). */
  readonly generated: boolean;
  /** Whether mounts of it may map identities (mount_setattr(2), MOUNT_ATTR_IDMAP). The kernel must check permissions then. */
  readonly idmap?: boolean;
  /** Whether the kernel may ask for a file by its number alone (open_by_handle_at(2), NFS); yes if left out. */
  readonly exported?: boolean;
  /** Called when INIT has been answered: the mount is live. */
  readonly onReady?: () => void;
}

/** The part of a pino logger that a session uses. */
export interface SessionLog {
  warn(fields: object, message?: string): void;
  warn(message: string): void;
  error(fields: object, message?: string): void;
  error(message: string): void;
}

/** Nobody but the kernel changes this filesystem, so what it has cached stays true until it changes it itself. */
const LONG = 86_400;

/** Seconds for which the kernel may believe an answer to LOOKUP or GETATTR. */
export function validityOf(cache: CacheMode): number {
  return cache === 'none' ? 0 : LONG;
}

/**
 * What we ask for; the kernel gives what it has of it. With cache=none every request is seen. Otherwise the kernel keeps POSIX locks itself, because
 * everybody who could want one goes through it, and lists directories without opening them; with cache=always it also keeps flock(2), and
 * opens nothing where all files may be cached: then ATOMIC_O_TRUNC must stay out, or O_TRUNC would be lost.
 * @param acls the filesystem has POSIX ACLs
 * @param strictAtime each open is to be seen, so that reading moves the atime
 */
export function wishes(options: SessionOptions, acls: boolean, strictAtime: boolean): InitWishes {
  const { cache, generated, idmap, exported = true } = options;
  let flags =
    INIT.ASYNC_READ |
    INIT.ATOMIC_O_TRUNC |
    INIT.DONT_MASK |
    INIT.HAS_IOCTL_DIR |
    INIT.DO_READDIRPLUS |
    INIT.READDIRPLUS_AUTO |
    INIT.ASYNC_DIO |
    INIT.PARALLEL_DIROPS |
    INIT.HANDLE_KILLPRIV_V2 |
    INIT.ABORT_ERROR |
    INIT.EXPLICIT_INVAL_DATA |
    INIT.SETXATTR_EXT;
  if (acls) flags |= INIT.POSIX_ACL;
  if (exported) flags |= INIT.EXPORT_SUPPORT;
  if (cache === 'none') flags |= INIT.POSIX_LOCKS;
  else flags |= INIT.CACHE_SYMLINKS;
  if (cache !== 'always') flags |= INIT.FLOCK_LOCKS;
  else flags |= INIT.WRITEBACK_CACHE;
  let flags2 = INIT2.DIRECT_IO_ALLOW_MMAP | INIT2.HAS_EXPIRE_ONLY;
  if (idmap === true) flags2 |= INIT2.ALLOW_IDMAP;
  if (!exported) flags2 |= INIT2.NO_EXPORT_SUPPORT;
  const [noOpen, noOpendir] = [cache === 'always' && !generated && !strictAtime, cache !== 'none' && !strictAtime];
  return { flags, flags2, maxWrite: 1 << 20, maxReadahead: 1 << 20, maxBackground: 64, noOpen, noOpendir };
}
