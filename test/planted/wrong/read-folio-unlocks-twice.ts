/** read_folio unlocks the folio at the end of its error path, although the completion of its request has done that. */

import { submit_bio } from '../../../src/block/bio.js';
import { type Folio, PAGE_SIZE } from '../../../src/mm/folio.js';
import { folio_end_read, folio_hand_over, folio_unlock } from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';
import { bdevOf, hostOf } from '../plain-file.js';

function read_folio(task: Task, _file: unknown, folio: Folio): void {
  const bdev = bdevOf(hostOf(folio));
  let failed = false;
  folio_hand_over(folio);
  submit_bio(task, bdev, {
    op: 'read',
    // Beyond the end of the device.
    sector: bdev.size / 512,
    vecs: [folio.data],
    length: PAGE_SIZE,
    end_io: (completion, error) => {
      failed = error !== undefined;
      folio_end_read(completion, folio, !failed);
    },
  });
  if (failed) folio_unlock(task, folio);
}

export const planted: Planted = {
  bug: 'read_folio unlocks a folio that the completion has unlocked',
  changes: { aops: { read_folio } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.ftruncate(fd, 4096);
    await outcome(sys.pread(fd, 10, 0));
  },
  reports: [
    {
      kind: 'unlock-not-owner',
      rule: 'lock#released-once-by-its-owner',
      op: 'address_space_operations.read_folio',
      held: ['invalidate_lock (read)'],
      at: 'read_folio',
    },
  ],
};
