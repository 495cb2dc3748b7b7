/** struct file_ra_state: what one open file has read lately, from which readahead guesses what comes next. */
export interface FileRaState {
  /** First page of the current window. */
  start: number;
  /** Pages in the window. */
  size: number;
  /** Pages of it that were read ahead of need: reaching them starts the next window. */
  async_size: number;
  /** The most to read ahead, in pages. */
  ra_pages: number;
  /** The last byte read, for telling sequential from random; -1 at first. */
  prev_pos: number;
}

/** Of a file that nobody has read from (file_ra_state_init). @param raPages the window, in pages */
export function newRaState(raPages: number): FileRaState {
  return { start: 0, size: 0, async_size: 0, ra_pages: raPages, prev_pos: -1 };
}
