/** swap_activate adds one extent, and says that it has added as many as the file has pages. */
import { add_swap_extent, type SwapInfo } from '../../../src/mm/swap-info.js';
import type { Task } from '../../../src/sched/task.js';
import { type Planted, swapping } from '../harness.js';

function swap_activate(_task: Task, sis: SwapInfo): number {
  add_swap_extent(sis, 0, 8, 64);
  return 8;
}

export const planted: Planted = {
  bug: 'swap_activate counts pages instead of extents',
  changes: { aops: { swap_activate } },
  provoke: swapping,
  reports: [
    {
      kind: 'promise',
      rule: 'address_space_operations.swap_activate#adds-extents',
      op: 'address_space_operations.swap_activate',
      held: ['i_rwsem (write)'],
      at: 'swap_activate',
    },
  ],
};
