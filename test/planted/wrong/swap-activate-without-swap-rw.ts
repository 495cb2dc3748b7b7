/** swap_activate says that the filesystem does the I/O, which has no swap_rw: the first page that is swapped out is lost. */
import { add_swap_extent, SWP_FS_OPS, type SwapInfo } from '../../../src/mm/swap-info.js';
import type { Task } from '../../../src/sched/task.js';
import { type Planted, swapping } from '../harness.js';

function swap_activate(_task: Task, sis: SwapInfo): number {
  sis.flags |= SWP_FS_OPS;
  return add_swap_extent(sis, 0, 8, 0);
}

export const planted: Planted = {
  bug: 'swap_activate sets SWP_FS_OPS and there is no swap_rw',
  changes: { aops: { swap_activate } },
  provoke: swapping,
  reports: [
    {
      kind: 'promise',
      rule: 'address_space_operations.swap_activate#chooses-swap_rw',
      op: 'address_space_operations.swap_activate',
      held: ['i_rwsem (write)'],
      at: 'swap_activate',
    },
  ],
};
