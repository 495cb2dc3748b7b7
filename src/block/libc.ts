/** The system calls that Node does not offer and devices need: locks on files, holes in them, and memory given back. */

import koffi from 'koffi';
import { ERRNO, type Errno, type ErrnoName, errno } from '../sched/errno.js';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from '../uapi/falloc.js';
import { LOCK_EX, LOCK_NB } from '../uapi/fcntl.js';
import { BLKGETSIZE64, BLKROGET } from '../uapi/ioctl.js';
import { MADV_DONTNEED } from '../uapi/mman.js';

const RLIMIT_FSIZE = 1;
const RLIM_INFINITY = 0xffffffffffffffffn;

/** Bound at the first call, so that who only imports this touches nothing. */
let bound: ReturnType<typeof bind> | undefined;

function bind() {
  const libc = koffi.load(null);
  return {
    flock: libc.func('int flock(int fd, int operation)'),
    fallocate: libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
    ioctl: libc.func('int ioctl(int fd, unsigned long request, void *arg)'),
    getrlimit: libc.func('int getrlimit(int resource, void *limit)'),
    setrlimit: libc.func('int setrlimit(int resource, void *limit)'),
    madvise: libc.func('int madvise(void *start, size_t length, int advice)'),
  };
}

function libc(): ReturnType<typeof bind> {
  bound ??= bind();
  return bound;
}

const NAMES = new Map<number, ErrnoName>(Object.entries(ERRNO).map(([name, value]) => [value, name as ErrnoName]));

/** What the last call failed with. */
function lastError(what: string): Errno {
  const number = koffi.errno();
  return errno(NAMES.get(number) ?? 'EIO', `${what}: errno ${number}`);
}

/** Lock an open file for this process alone, until it is closed (flock(2)). @returns false where another has it */
export function tryLockFile(fd: number): boolean {
  if (libc().flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const error = lastError('flock');
  if (error.code === 'EAGAIN') return false;
  throw error;
}

/** Free the bytes of a range, which then reads as zeroes. @throws EOPNOTSUPP where the filesystem has no holes */
export function punchHole(fd: number, offset: number, length: number): void {
  if (libc().fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) !== 0)
    throw lastError('fallocate');
}

/** Make a range read as zeroes without writing them. @throws EOPNOTSUPP where the filesystem cannot */
export function zeroRange(fd: number, offset: number, length: number): void {
  if (libc().fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length) !== 0)
    throw lastError('fallocate');
}

/**
 * How long files may be that this process writes (RLIMIT_FSIZE), after that was raised as far as it can be: with CAP_SYS_RESOURCE there is none,
 * without it that which `ulimit -H -f` shows. @returns bytes, Infinity where there is no limit
 */
export function raiseFileLimit(): number {
  const limit = Buffer.alloc(16);
  if (libc().getrlimit(RLIMIT_FSIZE, limit) !== 0) return Number.POSITIVE_INFINITY;
  if (limit.readBigUInt64LE(0) === RLIM_INFINITY) return Number.POSITIVE_INFINITY;
  const none = Buffer.alloc(16, 0xff);
  if (libc().setrlimit(RLIMIT_FSIZE, none) === 0) return Number.POSITIVE_INFINITY;
  const hard = limit.readBigUInt64LE(8);
  limit.writeBigUInt64LE(hard, 0);
  libc().setrlimit(RLIMIT_FSIZE, limit);
  return hard === RLIM_INFINITY ? Number.POSITIVE_INFINITY : Number(hard);
}

/** Bytes of an open block device. */
export function sizeOfBlockDevice(fd: number): number {
  const size = Buffer.alloc(8);
  if (libc().ioctl(fd, BLKGETSIZE64, size) !== 0) throw lastError('BLKGETSIZE64');
  return Number(size.readBigUInt64LE());
}

/** Whether an open block device is read-only, whoever opened it how. */
export function isReadOnlyBlockDevice(fd: number): boolean {
  const flag = Buffer.alloc(4);
  if (libc().ioctl(fd, BLKROGET, flag) !== 0) throw lastError('BLKROGET');
  return flag.readInt32LE() !== 0;
}

/** Offset of the first page boundary in `memory`. */
export function pageOffset(memory: Buffer, pageSize: number): number {
  return (pageSize - Number(koffi.address(memory) % BigInt(pageSize))) % pageSize;
}

/** Give whole, aligned pages back to the system; they read as zeroes and cost nothing until written. */
export function releasePages(memory: Buffer): void {
  // It is advice: where it fails, the memory stays taken, and nothing is wrong.
  libc().madvise(memory, memory.length, MADV_DONTNEED);
}
