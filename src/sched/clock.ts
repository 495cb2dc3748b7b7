/** The clocks of the kernel that Node does not read: to the nanosecond, and in the ticks that the kernel stamps files with. */

import koffi from 'koffi';
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
