/** writepage leaves the page locked and lets the completion of the write unlock it, before it ends the writeback. */

import { type Folio, PAGE_SIZE } from '../../../src/mm/folio.js';
import {
  folio_end_writeback,
  folio_hand_over,
  folio_start_writeback,
  folio_unlock,
} from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';
import { submit_write } from '../plain-file.js';

let written = 0;

function writepage(task: Task, folio: Folio): void {
  folio_start_writeback(task, folio);
  folio_hand_over(folio);
  submit_write(task, folio, (completion, folio, error) => {
    folio_unlock(completion, folio);
    folio_end_writeback(completion, folio, error);
    written++;
  });
}

export const unusual: Unusual = {
  what: 'the lock of a page is handed to the completion of its write',
  changes: { aops: { writepage } },
  use: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(3 * PAGE_SIZE, 1));
    await sys.fsync(fd);
    return written === 3;
  },
};
