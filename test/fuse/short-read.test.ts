/** Reads that stop before the end of the file. An answer that is shorter than what was asked for says that the file ends there. */

import t from 'tap';
import { type FaultPolicy, failRange } from '../../src/block/faulty-device.js';
import { DROP_PAGECACHE, drop_caches } from '../../src/fs/drop-caches.js';
import { READ_LOCKOWNER } from '../../src/fuse/protocol/flags.js';
import { Opcode } from '../../src/fuse/protocol/opcodes.js';
import { task_end } from '../../src/locking/context.js';
import { ERRNO } from '../../src/sched/errno.js';
import { O_RDWR } from '../../src/uapi/fcntl.js';
import { FakeKernel, type On, type Reply } from './fake-session.js';
import { strings, u32, u64 } from './request.js';

const PAGE = 4096;
const CONTENT = Buffer.alloc(128 * PAGE).map((_, n) => (n * 31 + (n >> 12)) & 0xff);

interface Stored {
  readonly kernel: FakeKernel;
  read(offset: number, size: number, readFlags?: number): Promise<Reply>;
  /** The block of the device that page `index` lies in. */
  blockOf(index: number): Promise<number>;
  /** What is cached goes. */
  drop(): Promise<void>;
}

/** A filesystem with a file of CONTENT that is on the device, and in no cache. */
async function withFile(on: On, body: (stored: Stored) => Promise<void>): Promise<void> {
  const kernel = await FakeKernel.boot('auto', -1, on);
  const { body: made } = await kernel.send(Opcode.CREATE, [u32(O_RDWR, 0o644, 0, 0), strings('a')]);
  const nodeid = Number(made.readBigUInt64LE(0));
  const fh = Number(made.readBigUInt64LE(128));
  for (let at = 0; at < CONTENT.length; at += 16 * PAGE) {
    const data = Buffer.from(CONTENT.subarray(at, at + 16 * PAGE));
    const { error } = await kernel.send(
      Opcode.WRITE,
      [u64(fh, at), u32(data.length, 0), u64(0), u32(O_RDWR, 0), data],
      {
        nodeid,
      },
    );
    if (error !== 0) throw new Error(`write: errno ${error}`);
  }
  await kernel.send(Opcode.FSYNC, [u64(fh), u32(0, 0)], { nodeid });
  const drop = async (): Promise<void> => {
    const task = kernel.sb.newTask({ comm: 'test' });
    await drop_caches(task, kernel.sb, DROP_PAGECACHE);
    task_end(task);
  };
  await drop();
  await body({
    kernel,
    read: (offset, size, readFlags = 0) =>
      kernel.send(Opcode.READ, [u64(fh, offset), u32(size, readFlags), u64(0), u32(O_RDWR, 0)], { nodeid }),
    blockOf: async (index) =>
      Number((await kernel.send(Opcode.BMAP, [u64(index), u32(PAGE, 0)], { nodeid })).body.readBigUInt64LE(0)),
    drop,
  });
  await kernel.send(Opcode.RELEASE, [u64(fh), u32(0, 0), u64(0)], { nodeid });
  await kernel.end();
}

t.test('a bad place is not the end of the file', async (t) => {
  let bad: FaultPolicy | undefined;
  await withFile({ policy: (request) => bad?.(request) }, async ({ kernel, read, blockOf, drop }) => {
    const block = await blockOf(9);
    t.ok(block > 0);
    bad = failRange('read', block * PAGE, (block + 1) * PAGE);
    await drop();
    t.equal((await read(0, 32 * PAGE)).error, ERRNO.EIO, 'what is to fill pages comes whole or not at all');
    await drop();
    const partly = await read(0, 32 * PAGE, READ_LOCKOWNER);
    t.equal(partly.error, 0);
    t.equal(partly.body.length, 9 * PAGE, 'read(2) itself gets what lies before it');
    t.ok(partly.body.equals(CONTENT.subarray(0, 9 * PAGE)));
    t.equal((await read(9 * PAGE, PAGE, READ_LOCKOWNER)).error, ERRNO.EIO, 'and then the error');
    const behind = await read(10 * PAGE, 8 * PAGE);
    t.ok(behind.body.equals(CONTENT.subarray(10 * PAGE, 18 * PAGE)), 'what lies behind it can be read');
    bad = undefined;
    const whole = await read(0, 32 * PAGE);
    t.ok(whole.body.equals(CONTENT.subarray(0, 32 * PAGE)), 'an error that has passed leaves nothing');
    t.same(kernel.violations, []);
  });
});

t.test('more is asked for than there are pages', async (t) => {
  await withFile({ pageCache: 16 * PAGE }, async ({ kernel, read }) => {
    for (const flags of [0, READ_LOCKOWNER]) {
      const { error, body } = await read(0, 256 * PAGE, flags);
      t.equal(error, 0);
      t.equal(body.length, CONTENT.length);
      t.ok(body.equals(CONTENT));
    }
    const tail = await read(100 * PAGE, 256 * PAGE);
    t.ok(tail.body.equals(CONTENT.subarray(100 * PAGE)), 'the end of the file is one all the same');
    t.same(kernel.violations, []);
  });
});

t.test('readers of much take turns with who needs a page', async (t) => {
  await withFile({ pageCache: 16 * PAGE }, async ({ kernel, read }) => {
    const reads = [0, 0, 0, 0].map(() => read(0, 128 * PAGE));
    const { error: made, body } = await kernel.send(Opcode.CREATE, [u32(O_RDWR, 0o644, 0, 0), strings('b')]);
    t.equal(made, 0);
    const nodeid = Number(body.readBigUInt64LE(0));
    const fh = Number(body.readBigUInt64LE(128));
    const piece = [u64(fh, 0), u32(8 * PAGE, 0), u64(0), u32(O_RDWR, 0), Buffer.from(CONTENT.subarray(0, 8 * PAGE))];
    for (let round = 0; round < 4; round++) t.equal((await kernel.send(Opcode.WRITE, piece, { nodeid })).error, 0);
    for (const answer of reads) t.ok((await answer).body.equals(CONTENT));
    await kernel.send(Opcode.RELEASE, [u64(fh), u32(0, 0), u64(0)], { nodeid });
    t.same(kernel.violations, []);
  });
});
