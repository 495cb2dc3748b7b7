/** Writes that find no more room. An answer that counts fewer bytes than were sent is enough for write(2), not for pages that the kernel writes back. */

import t from 'tap';
import { WRITE } from '../../src/fuse/protocol/flags.js';
import { Opcode } from '../../src/fuse/protocol/opcodes.js';
import { ERRNO } from '../../src/sched/errno.js';
import { O_RDWR } from '../../src/uapi/fcntl.js';
import { FakeKernel, type Reply } from './fake-session.js';
import { strings, u32, u64 } from './request.js';

const PIECE = 16 * 4096;

for (const cached of [false, true]) {
  t.test(cached ? 'pages written back: the error is the answer' : 'write(2): what fits is counted', async (t) => {
    const kernel = await FakeKernel.boot('always');
    const { body: made } = await kernel.send(Opcode.CREATE, [u32(O_RDWR, 0o644, 0, 0), strings('a')]);
    const nodeid = Number(made.readBigUInt64LE(0));
    const fh = Number(made.readBigUInt64LE(128));
    const write = (at: number): Promise<Reply> => {
      const flags = cached ? WRITE.CACHE : 0;
      const piece = [u64(fh, at), u32(PIECE, flags), u64(0), u32(O_RDWR, 0), Buffer.alloc(PIECE, 'x')];
      return kernel.send(Opcode.WRITE, piece, { nodeid });
    };
    // A page at the front, so that the room does not end where a request does.
    let end = 4096;
    let reply = await write(end);
    while (reply.error === 0 && reply.body.readUInt32LE(0) === PIECE) {
      end += PIECE;
      reply = await write(end);
    }
    if (cached) {
      t.equal(reply.error, ERRNO.ENOSPC, 'the kernel hears that not all was written');
    } else {
      t.equal(reply.error, 0);
      t.ok(reply.body.readUInt32LE(0) < PIECE, 'the caller hears how much was');
    }
    t.same(kernel.violations, []);
    await kernel.send(Opcode.RELEASE, [u64(fh), u32(0, 0), u64(0)], { nodeid });
    await kernel.end();
  });
}
