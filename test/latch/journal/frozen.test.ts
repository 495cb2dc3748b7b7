/** What is put into a buffer when its transaction is committed: once, however often it was changed, and before the log has it. */
import t from 'tap';
import { brelse } from '../../../src/block/buffer.js';
import { sb_bread } from '../../../src/block/buffer-cache.js';
import { BLOCK_SIZE, type BufferHead } from '../../../src/block/buffer-head.js';
import { journal_format, journal_load } from '../../../src/latch/journal/load.js';
import { NoJournal } from '../../../src/latch/journal/none.js';
import { type FrozenTrigger, type Journal, journal_start } from '../../../src/latch/journal/types.js';
import type { Task } from '../../../src/sched/task.js';
import { type Machine, machine } from './crash-device.js';

const UUID = Buffer.from('0123456789abcdef');
const PLACE = { first: 8, length: 64 };
const HOME = 2;
const SEAL = 0xc0ffee;

const seal: FrozenTrigger = ({ b_data }) => {
  b_data.writeUInt32LE(b_data.readUInt32LE(4) ^ SEAL, 0);
};

/** Change a block `times` times in one handle. */
async function change(m: Machine, task: Task, journal: Journal, times: number, frozen?: FrozenTrigger): Promise<void> {
  const handle = await journal_start(task, journal, 4);
  const bh: BufferHead = await sb_bread(task, m.bdev, HOME);
  for (let i = 1; i <= times; i++) {
    await handle.get_write_access(task, bh);
    bh.b_data.writeUInt32LE(bh.b_data.readUInt32LE(4) + 1, 4);
    handle.dirty_metadata(task, bh, frozen);
  }
  brelse(bh);
  handle.stop(task);
}

/** The block as the device has it. */
function homeOf(m: Machine): Buffer {
  const bytes = Buffer.alloc(BLOCK_SIZE);
  m.driver.read(HOME * BLOCK_SIZE, bytes);
  return bytes;
}

async function boot(): Promise<{ readonly m: Machine; readonly task: Task; readonly journal: Journal }> {
  const m = machine(Buffer.alloc(128 * BLOCK_SIZE));
  const task = m.task();
  await journal_format(task, m.bdev, PLACE, UUID);
  const { journal } = await journal_load(task, m.bdev, PLACE, m);
  return { m, task, journal };
}

t.test('the buffer is completed once, before it is copied', async (t) => {
  const { m, task, journal } = await boot();
  let calls = 0;
  const counted: FrozenTrigger = (bh) => {
    calls++;
    seal(bh);
  };
  await change(m, task, journal, 3, counted);
  await change(m, task, journal, 2, counted);
  t.equal(calls, 0, 'not before the commit');
  await journal.force_commit(task);
  t.equal(calls, 1);
  await journal.flush(task);
  t.equal(calls, 1);
  const home = homeOf(m);
  t.equal(home.readUInt32LE(4), 5);
  t.equal(home.readUInt32LE(0), (5 ^ SEAL) >>> 0, 'what went home is complete');
});

t.test('what is asked for in one transaction is not done in the next', async (t) => {
  const { m, task, journal } = await boot();
  await change(m, task, journal, 1, seal);
  await journal.force_commit(task);
  await change(m, task, journal, 1);
  await journal.flush(task);
  const home = homeOf(m);
  t.equal(home.readUInt32LE(4), 2);
  t.equal(home.readUInt32LE(0), (1 ^ SEAL) >>> 0);
});

t.test('a block that was freed and is used for something else is not completed as what it was', async (t) => {
  const { m, task, journal } = await boot();
  await change(m, task, journal, 1, seal);
  const handle = await journal_start(task, journal, 4);
  handle.forget(task, await sb_bread(task, m.bdev, HOME));
  const bh = await sb_bread(task, m.bdev, HOME);
  await handle.get_write_access(task, bh);
  bh.b_data.fill(0x11);
  handle.dirty_metadata(task, bh);
  brelse(bh);
  handle.stop(task);
  await journal.flush(task);
  t.ok(homeOf(m).equals(Buffer.alloc(BLOCK_SIZE, 0x11)));
});

t.test('without a log it is done at each change', async (t) => {
  const { m, task } = await boot();
  const journal = new NoJournal(m.bdev, async () => undefined);
  await change(m, task, journal, 3, seal);
  await journal.force_commit(task);
  const home = homeOf(m);
  t.equal(home.readUInt32LE(0), (3 ^ SEAL) >>> 0);
});
