/** Pages that the kernel fills while a direct write is under way are dropped before the write is answered. */

import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import type { FaultPolicy } from '../../src/block/faulty-device.js';
import { DROP_PAGECACHE, drop_caches } from '../../src/fs/drop-caches.js';
import { Notify, READ_LOCKOWNER, WRITE } from '../../src/fuse/protocol/flags.js';
import { Opcode } from '../../src/fuse/protocol/opcodes.js';
import { task_end } from '../../src/locking/context.js';
import { O_DIRECT, O_RDWR } from '../../src/uapi/fcntl.js';
import { FakeKernel, type Reply } from './fake-session.js';
import { strings, u32, u64 } from './request.js';

const PAGE = 4096;

class OneFile {
  readonly kernel: FakeKernel;
  readonly nodeid: number;
  readonly fh: number;

  constructor(kernel: FakeKernel, nodeid: number, fh: number) {
    this.kernel = kernel;
    this.nodeid = nodeid;
    this.fh = fh;
  }

  static async make(policy?: FaultPolicy): Promise<OneFile> {
    const kernel = await FakeKernel.boot('auto', -1, policy === undefined ? {} : { policy });
    const { body } = await kernel.send(Opcode.CREATE, [u32(O_RDWR, 0o644, 0, 0), strings('a')]);
    const file = new OneFile(kernel, Number(body.readBigUInt64LE(0)), Number(body.readBigUInt64LE(128)));
    await file.write(0, O_RDWR, 0, 4 * PAGE);
    return file;
  }

  write(offset: number, flags: number, writeFlags = 0, size = PAGE): Promise<Reply> {
    const piece = [u64(this.fh, offset), u32(size, writeFlags), u64(0), u32(flags, 0), Buffer.alloc(size, 'x')];
    return this.kernel.send(Opcode.WRITE, piece, { nodeid: this.nodeid });
  }

  read(readFlags = 0): Promise<Reply> {
    const piece = [u64(this.fh, 0), u32(4 * PAGE, readFlags), u64(0), u32(O_RDWR, 0)];
    return this.kernel.send(Opcode.READ, piece, { nodeid: this.nodeid });
  }

  /** What was notified since the last time. */
  notified(): number[] {
    return this.kernel.transport.notified.splice(0);
  }

  async end(): Promise<void> {
    await this.kernel.send(Opcode.RELEASE, [u64(this.fh), u32(0, 0), u64(0)], { nodeid: this.nodeid });
    await this.kernel.end();
  }
}

t.test('only where there may be pages', async (t) => {
  const file = await OneFile.make();
  await file.write(0, O_RDWR | O_DIRECT);
  t.same(file.notified(), [], 'nothing was read');
  await file.read(READ_LOCKOWNER);
  await file.write(0, O_RDWR | O_DIRECT);
  t.same(file.notified(), [], 'read(2) itself keeps nothing');
  await file.read();
  await file.write(0, O_RDWR);
  await file.write(0, O_RDWR | O_DIRECT, WRITE.CACHE);
  t.same(file.notified(), [], 'what goes through the pages is in them');
  await file.write(PAGE, O_RDWR | O_DIRECT);
  t.same(file.notified(), [Notify.INVAL_INODE]);
  await file.write(PAGE, O_RDWR | O_DIRECT);
  t.same(file.notified(), [], 'and once is enough');
  t.same(file.kernel.violations, []);
  await file.end();
});

t.test('before the answer', async (t) => {
  const file = await OneFile.make();
  const { transport } = file.kernel;
  await file.read();
  const order: string[] = [];
  let dropped: (() => void) | undefined;
  transport.notifyLater = () => {
    transport.data.clear();
    return new Promise((resolve) => {
      dropped = () => {
        order.push('dropped');
        resolve(true);
      };
    });
  };
  const answer = file.write(0, O_RDWR | O_DIRECT).then(({ error }) => order.push(`answered ${error}`));
  await file.read();
  t.same(order, [], 'others are served meanwhile: the kernel may wait for them');
  dropped?.();
  await answer;
  t.same(order, ['dropped', 'answered 0']);
  t.same(file.kernel.violations, []);
  await file.end();
});

t.test('again where an answer was under way', async (t) => {
  let slow = false;
  const file = await OneFile.make(({ op }) => (slow && op === 'read' ? { delay: 300 } : undefined));
  const { kernel, nodeid, fh } = file;
  await kernel.send(Opcode.FSYNC, [u64(fh), u32(0, 0)], { nodeid });
  const task = kernel.sb.newTask({ comm: 'test' });
  await drop_caches(task, kernel.sb, DROP_PAGECACHE);
  task_end(task);
  slow = true;
  const answer = file.read();
  slow = false;
  for (const at of [8, 9]) {
    await file.write(at * PAGE, O_RDWR | O_DIRECT);
    t.same(file.notified(), [Notify.INVAL_INODE], 'it may have read before the write what it brings after it');
  }
  t.equal((await answer).body.length, 4 * PAGE);
  await setImmediate();
  await file.write(8 * PAGE, O_RDWR | O_DIRECT);
  t.same(file.notified(), [Notify.INVAL_INODE]);
  await file.write(8 * PAGE, O_RDWR | O_DIRECT);
  t.same(file.notified(), []);
  t.same(kernel.violations, []);
  await file.end();
});
