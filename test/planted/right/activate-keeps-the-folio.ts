/** writepage, called by reclaim, answers WRITEPAGE_ACTIVATE and returns with the page dirty and locked. */

import type { Folio } from '../../../src/mm/folio.js';
import { folio_redirty_for_writepage } from '../../../src/mm/folio-state.js';
import { WRITEPAGE_ACTIVATE, type WritebackControl } from '../../../src/mm/operations.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { reclaim, type Unusual } from '../harness.js';
import { writepage as plain_writepage } from '../plain-file.js';

let activated = 0;

function writepage(task: Task, folio: Folio, wbc: WritebackControl): typeof WRITEPAGE_ACTIVATE | undefined {
  if (wbc.for_reclaim === true) {
    activated++;
    folio_redirty_for_writepage(task, wbc, folio);
    return WRITEPAGE_ACTIVATE;
  }
  plain_writepage(task, folio);
  return undefined;
}

export const unusual: Unusual = {
  what: 'writepage puts the page aside and keeps it locked',
  changes: { aops: { writepage } },
  use: async ({ sys, machine }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await reclaim(machine);
    await sys.fsync(fd);
    return activated > 0;
  },
};
