/** The clocks of the kernel that Node does not read: to the nanosecond, and in the ticks that the kernel stamps files with. */

import koffi from 'koffi';
import { AT_EMPTY_PATH } from '../uapi/fcntl.js';
import type { Timespec } from './time.js';

const CLOCK_REALTIME = 0;
const CLOCK_REALTIME_COARSE = 5;
const WORD = 2 ** 32;

interface Calls {
  /** clock_gettime(2), of a struct timespec at an address. */
  readonly clock_gettime: (clock: number, address: number) => number;
  /** Its words: two of the seconds, the lower first, and the nanoseconds. */
  readonly timespec: Uint32Array;
  readonly address: number;
}

/** Bound at the first call, so that who only imports this touches nothing. */
let bound: Calls | undefined;

function bind(): Calls {
  const timespec = new Uint32Array(4);
  const clock_gettime: Calls['clock_gettime'] = koffi.load(null).func('clock_gettime', 'int', ['int', 'uintptr_t']);
  bound = { clock_gettime, timespec, address: Number(koffi.address(timespec.buffer)) };
  return bound;
}

/** CLOCK_REALTIME. */
export function realtime(): Timespec {
  const { clock_gettime, timespec, address } = bound ?? bind();
  clock_gettime(CLOCK_REALTIME, address);
  return { sec: secondsOf(timespec), nsec: timespec[2] ?? 0 };
}

/** CLOCK_REALTIME_COARSE: when the kernel's clock ticked last. @returns `last` where that is it still */
export function coarseTime(last: Timespec): Timespec {
  const { clock_gettime, timespec, address } = bound ?? bind();
  clock_gettime(CLOCK_REALTIME_COARSE, address);
  const sec = secondsOf(timespec);
  const nsec = timespec[2] ?? 0;
  return last.nsec === nsec && last.sec === sec ? last : { sec, nsec };
}

/** Seconds before 1970 are negative. */
function secondsOf(timespec: Uint32Array): number {
  return (timespec[0] ?? 0) + ((timespec[1] ?? 0) | 0) * WORD;
}

const MFD_CLOEXEC = 1;
/** Of statx(2): the access time only, because who has asked for the time of change makes the next one a finer one. */
const STATX_ATIME = 0x20;
/** Words of struct statx up to stx_atime. */
const STX_ATIME = 16;

interface Touched {
  /** Touch the file. @returns its access time, or undefined where that cannot be */
  readonly touch: () => Uint32Array | undefined;
}

let touched: Touched | undefined;

/** A file in memory that nobody else has (memfd_create(2)). */
function newTouched(): Touched {
  try {
    const libc = koffi.load(null);
    const memfd_create: (name: string, flags: number) => number = libc.func('memfd_create', 'int', ['str', 'uint']);
    const futimens: (fd: number, now: number) => number = libc.func('futimens', 'int', ['int', 'uintptr_t']);
    const statx: (fd: number, path: string, flags: number, mask: number, into: number) => number = libc.func(
      'statx',
      'int',
      ['int', 'str', 'int', 'uint', 'uintptr_t'],
    );
    const words = new Uint32Array(64);
    const address = Number(koffi.address(words.buffer));
    const time = words.subarray(STX_ATIME);
    const fd = memfd_create('latchfs-clock', MFD_CLOEXEC);
    const touch = (): Uint32Array | undefined =>
      futimens(fd, 0) === 0 && statx(fd, '', AT_EMPTY_PATH, STATX_ATIME, address) === 0 ? time : undefined;
    if (fd >= 0) return { touch };
  } catch {
    // A C library that has not got them all.
  }
  return { touch: () => undefined };
}

/**
 * What the kernel would stamp a file with now that does without finer times: when its clock ticked last or, where a filesystem has given out a finer time since, that
 * (ktime_get_coarse_real_ts64_mg, since Linux 6.13). Nothing tells it but a file that is touched.
 * @returns `last` where that is it still; CLOCK_REALTIME_COARSE where no file can be touched
 */
export function stampTime(last: Timespec): Timespec {
  touched ??= newTouched();
  const time = touched.touch();
  if (time === undefined) return coarseTime(last);
  const sec = secondsOf(time);
  const nsec = time[2] ?? 0;
  return last.nsec === nsec && last.sec === sec ? last : { sec, nsec };
}
