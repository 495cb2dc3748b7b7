/** writepage for memory's sake dirties the page again where it would have to wait, unlocks it and returns; a sync writes it. */

import type { Folio } from '../../../src/mm/folio.js';
import { folio_redirty_for_writepage, folio_unlock } from '../../../src/mm/folio-state.js';
import type { WritebackControl } from '../../../src/mm/operations.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { reclaim, type Unusual } from '../harness.js';
import { writepage as plain_writepage } from '../plain-file.js';

let redirtied = 0;

function writepage(task: Task, folio: Folio, wbc: WritebackControl): void {
  if (wbc.sync_mode === 'WBC_SYNC_NONE') {
    redirtied++;
    folio_redirty_for_writepage(task, wbc, folio);
    folio_unlock(task, folio);
    return;
  }
  plain_writepage(task, folio);
}

export const unusual: Unusual = {
  what: 'writepage dirties the page again',
  changes: { aops: { writepage } },
  use: async ({ sys, machine }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await reclaim(machine);
    await sys.fsync(fd);
    return redirtied > 0;
  },
};
