/** buffer_head: the completion callback, the one operation of the document that runs in interrupt context. */
import type { Row } from './row.js';
import { demand, EVERYWHERE, rowsOf, unlocks } from './rules.js';

const op = rowsOf('buffer_head');

export const buffer_head = {
  b_end_io: op('b_end_io', {
    returns: 'void',
    prototype: 'struct buffer_head *bh, int uptodate',
    cells: [],
    mayBlock: 'no',
    context: 'completion',
    rules: [unlocks('bh', 'bh')],
    prose: [
      demand(
        'runs-in-interrupt-context',
        'It is called in interrupt context, with nothing guaranteed but that the buffer is locked; it may wait for nothing.',
      ),
      demand('called-at-completion', 'The block device calls it when the I/O on the buffer has completed.'),
    ],
    reach: EVERYWHERE,
  }),
} as const satisfies Record<string, Row>;
