/** What dirties and cleans pages together: one filesystem's share of the dirty pages, and how its flusher is woken (struct backing_dev_info). */
import type { MemoryControl } from './memory.js';

/** Why a flusher is woken (enum wb_reason). */
export type FlushReason = 'background' | 'vmscan' | 'sync' | 'periodic';

export class Bdi {
  readonly name: string;
  readonly memory: MemoryControl;
  /** Pages that are dirty and not yet under writeback (WB_RECLAIMABLE). */
  nr_dirty = 0;
  /** Pages under writeback (WB_WRITEBACK). */
  nr_writeback = 0;
  /** Pages dirtied and written since the mount (WB_DIRTIED, WB_WRITTEN). */
  nr_dirtied = 0;
  nr_written = 0;
  /** Most pages that a file reads ahead, the default of files opened from now on. */
  ra_pages = 32;
  /** True while its flusher works on what it was woken for; set by the flusher. */
  writebackRunning = false;
  readonly #wake: ((reason: FlushReason) => void) | undefined;

  /**
   * @param wake wakes the flusher, which walks the filesystem's dirty inodes with do_writepages. May not block; called often.
   * Without it writers that reach the limit write out their own file.
   */
  constructor(memory: MemoryControl, name: string, wake?: (reason: FlushReason) => void) {
    this.memory = memory;
    this.name = name;
    this.#wake = wake;
    memory.bdis.add(this);
  }

  /** True where somebody writes back for those who dirty. */
  get hasFlusher(): boolean {
    return this.#wake !== undefined;
  }

  /** Ask for background writeback, unless it is under way (wb_start_background_writeback). */
  wakeFlusher(reason: FlushReason): void {
    if (!this.writebackRunning) this.#wake?.(reason);
  }

  /** Nothing can be dirtied any more: the filesystem is gone (bdi_unregister). */
  unregister(): void {
    this.memory.bdis.delete(this);
  }
}
