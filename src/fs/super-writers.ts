/** Who is writing to a superblock, by kinds, and how far a freeze of it is (struct sb_writers). super-freeze.ts has the functions. */
import type { Held } from '../locking/held.js';
import { class_key } from '../locking/lockdep/class.js';
import { RwSem } from '../locking/rwsem.js';
import { WaitQueue } from '../sched/wait.js';

/** How far a freeze is, and the kinds of writers that it keeps out in turn. */
export const SB_UNFROZEN = 0;
export const SB_FREEZE_WRITE = 1;
export const SB_FREEZE_PAGEFAULT = 2;
export const SB_FREEZE_FS = 3;
export const SB_FREEZE_COMPLETE = 4;

export type FreezeLevel = typeof SB_FREEZE_WRITE | typeof SB_FREEZE_PAGEFAULT | typeof SB_FREEZE_FS;

/** struct sb_writers. */
export class SuperWriters {
  frozen = SB_UNFROZEN;
  readonly write: RwSem<'s_writers'>;
  readonly pagefault: RwSem<'s_writers'>;
  readonly fs: RwSem<'s_writers'>;
  /** Writes of data that came in while nothing was frozen, and that no lock counts; and where a freeze waits for their end. */
  entered = 0;
  readonly drained = new WaitQueue();
  /** What the freeze holds, and no task, until the thaw. */
  readonly held: Held[] = [];

  /** @param type the name of the file system type, each of which has classes of its own (s_writers_key) */
  constructor(type: string) {
    const key = class_key('s_writers', 'rwsem', type);
    this.write = new RwSem('s_writers', key);
    this.pagefault = new RwSem('s_writers', key);
    this.fs = new RwSem('s_writers', key);
  }

  at(level: FreezeLevel): RwSem<'s_writers'> {
    return level === SB_FREEZE_WRITE ? this.write : level === SB_FREEZE_PAGEFAULT ? this.pagefault : this.fs;
  }
}
