/** Times as the kernel keeps them: seconds and nanoseconds apart, because a nanosecond count does not fit a double. */
export interface Timespec {
  /** Seconds since the epoch; may be negative. */
  readonly sec: number;
  /** Nanoseconds, 0 to 999,999,999. */
  readonly nsec: number;
}

export const EPOCH: Timespec = { sec: 0, nsec: 0 };

/** Negative where `a` is earlier, positive where it is later, 0 where they are equal (timespec64_compare). */
export function timespecCompare(a: Timespec, b: Timespec): number {
  return a.sec === b.sec ? a.nsec - b.nsec : a.sec - b.sec;
}

/** Whether two times are the same, to the nanosecond. */
export function timespecEqual(a: Timespec, b: Timespec): boolean {
  return a.nsec === b.nsec && a.sec === b.sec;
}
