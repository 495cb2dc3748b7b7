/** Crashes at any moment: what recovery finds is the state at the end of some transaction, and none that was promised is missing. */
import fc from 'fast-check';
import t from 'tap';
import { submit_bio_wait } from '../../../src/block/bio.js';
import { brelse } from '../../../src/block/buffer.js';
import { sb_bread, sb_getblk } from '../../../src/block/buffer-cache.js';
import { BLOCK_SIZE } from '../../../src/block/buffer-head.js';
import type { LogJournal } from '../../../src/latch/journal/journal.js';
import { journal_format, journal_load } from '../../../src/latch/journal/load.js';
import { journal_start, log_wait_commit } from '../../../src/latch/journal/types.js';
import type { Task } from '../../../src/sched/task.js';
import { type Machine, machine, settle } from './crash-device.js';

const UUID = Buffer.from('0123456789abcdef');
const HOMES = 12;

type Op =
  | { readonly op: 'change'; readonly blocks: readonly number[] }
  | { readonly op: 'free'; readonly block: number }
  | { readonly op: 'commit' | 'flush' | 'timer' | 'request' | 'checkpoint' };

const block = fc.integer({ min: 0, max: HOMES - 1 });
const anyOp: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .uniqueArray(block, { minLength: 1, maxLength: 4 })
      .map((blocks) => ({ op: 'change' as const, blocks })),
  },
  { weight: 2, arbitrary: block.map((at) => ({ op: 'free' as const, block: at })) },
  {
    weight: 4,
    arbitrary: fc.constantFrom('commit', 'flush', 'timer', 'request', 'checkpoint').map((op) => ({ op }) as Op),
  },
);

/** What each block holds: the value of metadata, or nothing that a transaction vouches for. */
type State = readonly (number | undefined)[];

/** Data written to a freed block, and when it had to be there for good. */
interface DataWrite {
  readonly block: number;
  readonly value: number;
  readonly stableAt: number;
  reusedIn: number;
}

class Run {
  readonly m: Machine;
  readonly task: Task;
  readonly journal: LogJournal;
  readonly first: number;
  readonly snapshots = new Map<number, State>();
  readonly promises: { readonly tid: number; readonly at: number }[] = [];
  readonly data: DataWrite[] = [];
  state: (number | undefined)[];
  #value: number;

  constructor(m: Machine, journal: LogJournal, first: number, state: (number | undefined)[], value: number) {
    this.m = m;
    this.task = m.task();
    this.journal = journal;
    this.first = first;
    this.state = state;
    this.#value = value;
    this.snapshots.set(0, [...state]);
  }

  async step(op: Op): Promise<void> {
    const { journal, task, m } = this;
    if (op.op === 'change') await this.change(op.blocks);
    else if (op.op === 'free') await this.free(op.block);
    else if (op.op === 'commit') await this.commit();
    else if (op.op === 'flush') {
      const tid = journal.running?.tid ?? journal.committing?.tid ?? 0;
      await journal.flush(task);
      this.promises.push({ tid, at: m.driver.events.length });
    } else if (op.op === 'timer') m.sched.fireTimers();
    else if (op.op === 'request') journal.request_commit(journal.running?.tid ?? 0);
    else journal.request_checkpoint();
  }

  async change(blocks: readonly number[]): Promise<void> {
    const { task, journal, m } = this;
    const handle = await journal_start(task, journal, blocks.length);
    const value = ++this.#value;
    for (const at of blocks) {
      const fresh = this.state[at] === undefined;
      const bh = fresh ? sb_getblk(task, m.bdev, this.first + at) : await sb_bread(task, m.bdev, this.first + at);
      await handle.get_write_access(task, bh);
      bh.b_data.fill(0).writeUInt32LE(value);
      for (let sector = 512; sector < BLOCK_SIZE; sector += 512) bh.b_data.writeUInt32LE(value, sector);
      bh.uptodate = true;
      handle.dirty_metadata(task, bh);
      brelse(bh);
      this.state[at] = value;
      if (fresh)
        for (const write of this.data) if (write.block === at) write.reusedIn = Math.min(write.reusedIn, handle.tid);
    }
    this.snapshots.set(handle.tid, [...this.state]);
    handle.stop(task);
  }

  /** Free a block, and use it for data as soon as that is safe. */
  async free(at: number): Promise<void> {
    const { task, journal, m } = this;
    if (this.state[at] === undefined) return;
    const handle = await journal_start(task, journal, 2);
    handle.forget(task, await sb_bread(task, m.bdev, this.first + at));
    this.state[at] = undefined;
    const { tid } = handle;
    this.snapshots.set(tid, [...this.state]);
    handle.stop(task);
    if (at % 2 === 0) return;
    await log_wait_commit(task, journal, tid);
    this.promises.push({ tid, at: m.driver.events.length });
    const value = ++this.#value;
    const bytes = Buffer.alloc(BLOCK_SIZE);
    for (let sector = 0; sector < BLOCK_SIZE; sector += 512) bytes.writeUInt32LE(value, sector);
    await submit_bio_wait(task, m.bdev, {
      op: 'write',
      sector: (this.first + at) * 8,
      vecs: [bytes],
      length: BLOCK_SIZE,
      fua: true,
    });
    this.data.push({ block: at, value, stableAt: m.driver.events.length, reusedIn: Number.POSITIVE_INFINITY });
  }

  async commit(): Promise<void> {
    const tid = this.journal.running?.tid ?? this.journal.committing?.tid ?? this.journal.commitSequence;
    await this.journal.force_commit(this.task);
    this.promises.push({ tid, at: this.m.driver.events.length });
  }
}

function wordOf(image: Buffer, first: number, at: number): number {
  const base = (first + at) * BLOCK_SIZE;
  const value = image.readUInt32LE(base);
  for (let sector = 512; sector < BLOCK_SIZE; sector += 512) {
    if (image.readUInt32LE(base + sector) !== value) return -1;
  }
  return value;
}

/** Which transactions' ends the image can be; empty: it is none. */
function matches(run: Run, image: Buffer): number[] {
  const values = Array.from({ length: HOMES }, (_, at) => wordOf(image, run.first, at));
  return [...run.snapshots]
    .filter(([, state]) => state.every((v, at) => v === undefined || v === values[at]))
    .map(([tid]) => tid);
}

async function recovered(image: Buffer, length: number): Promise<Machine & { readonly journal: LogJournal }> {
  const m = machine(image);
  const { journal } = await journal_load(m.task(), m.bdev, { first: 0, length }, m);
  return { ...m, journal };
}

t.test('after a crash there is the state at the end of a transaction', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyOp, { minLength: 1, maxLength: 60 }),
      fc.array(anyOp, { maxLength: 30 }),
      fc.integer({ min: 32, max: 70 }),
      fc.infiniteStream(fc.nat(1_000_000)),
      async (ops, more, length, numbers) => {
        const choose = (n: number): number => Number(numbers.next().value) % n;
        const size = (length + HOMES) * BLOCK_SIZE;
        const fresh = machine(Buffer.alloc(size));
        await journal_format(fresh.task(), fresh.bdev, { first: 0, length }, UUID);
        let image = fresh.driver.now;
        let value = 0;
        let state: (number | undefined)[] = new Array(HOMES).fill(0);
        for (const round of [ops, more]) {
          const m = await recovered(image, length);
          const run = new Run(m, m.journal, length, state, value);
          for (const op of round) await run.step(op);
          if (choose(2) === 0) await settle();
          if (m.journal.error !== undefined) throw m.journal.error;
          for (let i = 0; i < 6; i++) {
            const cut = choose(m.driver.events.length + 1);
            const after = await recovered(m.driver.crash(cut, choose), length);
            image = after.driver.now;
            const promised = Math.max(0, ...run.promises.map(({ tid, at }) => (at <= cut ? tid : 0)));
            const candidates = matches(run, image).filter((tid) => tid >= promised);
            const tid = candidates.find((candidate) =>
              run.data.every(
                (w, n) =>
                  w.stableAt > cut ||
                  w.reusedIn <= candidate ||
                  run.data.some((later, k) => k > n && later.block === w.block) ||
                  wordOf(image, length, w.block) === w.value,
              ),
            );
            if (tid === undefined) {
              throw new Error(`cut ${cut} of ${m.driver.events.length}: promised ${promised}, states of ${candidates}`);
            }
            state = [...(run.snapshots.get(tid) ?? [])];
          }
          value += 1000;
        }
      },
    ),
    { numRuns: 120 },
  );
  t.pass('120 runs');
});

t.test('handles of many tasks are atomic', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(block, block, fc.nat(4)), { minLength: 5, maxLength: 80 }),
      fc.integer({ min: 32, max: 60 }),
      fc.infiniteStream(fc.nat(1_000_000)),
      async (jobs, length, numbers) => {
        const choose = (n: number): number => Number(numbers.next().value) % n;
        const fresh = machine(Buffer.alloc((length + HOMES * 2) * BLOCK_SIZE));
        await journal_format(fresh.task(), fresh.bdev, { first: 0, length }, UUID);
        const m = await recovered(fresh.driver.now, length);
        // Every job moves a unit from one account to another: the sum over all of them never changes.
        const job = async ([from, to, pause]: readonly [number, number, number]): Promise<void> => {
          const task = m.task();
          for (let i = 0; i < pause; i++) await m.sched.yield();
          const handle = await journal_start(task, m.journal, 2);
          for (const [at, change] of [
            [from, -1],
            [to, 1],
          ] as const) {
            const bh = await sb_bread(task, m.bdev, length + at);
            await handle.get_write_access(task, bh);
            bh.b_data.writeInt32LE(bh.b_data.readInt32LE() + change);
            handle.dirty_metadata(task, bh);
            brelse(bh);
            await m.sched.yield();
          }
          handle.stop(task);
          if (pause === 0) await log_wait_commit(task, m.journal, handle.tid);
        };
        await Promise.all(jobs.map(job));
        if (m.journal.error !== undefined) throw m.journal.error;
        for (let i = 0; i < 5; i++) {
          const after = await recovered(m.driver.crash(choose(m.driver.events.length + 1), choose), length);
          let sum = 0;
          for (let at = 0; at < HOMES; at++) sum += after.driver.now.readInt32LE((length + at) * BLOCK_SIZE);
          if (sum !== 0) throw new Error(`the sum is ${sum}`);
        }
        await m.journal.destroy(m.task());
        if (m.journal.log.used !== 0) throw new Error('the log is not empty after destroy');
      },
    ),
    { numRuns: 60 },
  );
  t.pass('60 runs');
});
