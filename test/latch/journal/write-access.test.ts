/** Bytes of buffers change while a handle has write access to them, and the handle says so: with the deep checks on, what changes at another time is seen. */
import t from 'tap';
import { brelse } from '../../../src/block/buffer.js';
import { bytes_settled } from '../../../src/block/buffer-access.js';
import { sb_bread } from '../../../src/block/buffer-cache.js';
import { BLOCK_SIZE, type BufferHead } from '../../../src/block/buffer-head.js';
import { memoryDevice } from '../../../src/block/memory-device.js';
import { journal_format, journal_load } from '../../../src/latch/journal/load.js';
import { NoJournal } from '../../../src/latch/journal/none.js';
import { type Journal, journal_start } from '../../../src/latch/journal/types.js';
import type { Violation } from '../../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../../src/locking/lockdep.js';
import { RealScheduler } from '../../../src/sched/real.js';
import { Task } from '../../../src/sched/task.js';

const HOME = 2;
const RULE = 'buffer_head#bytes-change-with-write-access';

interface Stage {
  readonly validator: Lockdep;
  readonly journal: Journal;
  readonly bh: BufferHead;
  task(): Task;
  /** What was reported since it was asked last. */
  told(): string[];
}

async function stage(log: boolean): Promise<Stage> {
  const sched = new RealScheduler();
  const seen: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => seen.push(violation), { stacks: true });
  const bdev = memoryDevice(128 * BLOCK_SIZE, sched, validator);
  const task = (): Task => new Task(sched, validator, { comm: 'test' });
  const place = { first: 8, length: 64 };
  await journal_format(task(), bdev, place, Buffer.from('0123456789abcdef'));
  const journal = log
    ? (await journal_load(task(), bdev, place, { sched, validator }, { commitInterval: 1e9 })).journal
    : new NoJournal(bdev, async () => undefined);
  const bh = await sb_bread(task(), bdev, HOME);
  const told = (): string[] =>
    seen.splice(0).map(({ rule, message }) => (rule === RULE ? message.replace(/.*: /, '') : `${rule}: ${message}`));
  return { validator, journal, bh, task, told };
}

const change = (bh: BufferHead): void => void bh.b_data.writeUInt32LE(bh.b_data.readUInt32LE(0) + 1, 0);

for (const log of [true, false]) {
  t.test(log ? 'with a log' : 'without a log', async (t) => {
    const { validator, journal, bh, task, told } = await stage(log);
    const [own, other] = [task(), task()];
    const handle = await journal_start(own, journal, 4);
    await handle.get_write_access(own, bh);
    change(bh);
    // Another comes while the first is at it.
    const second = await journal_start(other, journal, 4);
    await second.get_write_access(other, bh);
    handle.dirty_metadata(own, bh);
    handle.stop(own);
    change(bh);
    second.dirty_metadata(other, bh);
    second.stop(other);
    t.same(told(), []);

    change(bh);
    const late = await journal_start(own, journal, 4);
    await late.get_write_access(own, bh);
    t.same(told(), ['its bytes were changed by somebody without write access'], 'it is announced after the change');
    change(bh);
    late.stop(own);
    t.same(told(), ['its bytes were changed with write access, and nobody has said so']);

    change(bh);
    bytes_settled(bh);
    const last = await journal_start(own, journal, 4);
    await last.get_write_access(own, bh);
    t.same(told(), [], 'by another right it may');
    last.dirty_metadata(own, bh);
    last.stop(own);
    change(bh);
    await journal.force_commit(own);
    t.equal(told().length, log ? 1 : 0, 'a commit takes them as they are');
    await journal.force_commit(own);
    t.same(told(), [], 'once');

    validator.stacks = false;
    change(bh);
    const unseen = await journal_start(own, journal, 4);
    await unseen.get_write_access(own, bh);
    change(bh);
    unseen.dirty_metadata(own, bh);
    unseen.stop(own);
    validator.stacks = true;
    const again = await journal_start(own, journal, 4);
    await again.get_write_access(own, bh);
    again.stop(own);
    t.same(told(), [], 'what happened while nobody looked is not told of later');
    brelse(bh);
    await journal.destroy(own);
  });
}
