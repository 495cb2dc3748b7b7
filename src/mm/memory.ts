/** placeholder, replaced by the mm layer */
import type { Scheduler } from '../sched/scheduler.js';
export interface MemoryControl {
  readonly sched: Scheduler;
}
