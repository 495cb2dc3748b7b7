/** The request queue: what it refuses, its order around flushes, completions that may not sleep, and polled requests. */
import t from 'tap';
import { type Bio, bio_poll, blkdev_issue_flush, submit_bio, submit_bio_wait } from '../../src/block/bio.js';
import { BlockDevice } from '../../src/block/block-device.js';
import { failNth, failRange, faultyDevice, firstOf } from '../../src/block/faulty-device.js';
import { memoryDevice } from '../../src/block/memory-device.js';
import type { Driver } from '../../src/block/request-queue.js';
import type { Awaitable } from '../../src/sched/awaitable.js';
import type { Errno } from '../../src/sched/errno.js';
import { codeOf, testMachine } from './machine.js';

const SECTOR = 512;

/** A driver that says what it is asked, and takes its time where it is told to. */
class Telling implements Driver {
  readonly log: string[] = [];
  readonly held: (() => void)[] = [];
  hold = false;

  read(offset: number, into: Buffer): Awaitable<void> {
    return this.#say(`read ${offset}+${into.length}`);
  }

  write(offset: number, from: Buffer): Awaitable<void> {
    return this.#say(`write ${offset}+${from.length}`);
  }

  discard(offset: number, length: number): Awaitable<void> {
    return this.#say(`discard ${offset}+${length}`);
  }

  zero(offset: number, length: number): Awaitable<void> {
    return this.#say(`zero ${offset}+${length}`);
  }

  flush(): Awaitable<void> {
    return this.#say('flush');
  }

  #say(what: string): Awaitable<void> {
    this.log.push(what);
    if (!this.hold) return undefined;
    return new Promise((resolve) => this.held.push(resolve));
  }
}

function device(readOnly = false): { machine: ReturnType<typeof testMachine>; driver: Telling; bdev: BlockDevice } {
  const machine = testMachine();
  const driver = new Telling();
  const shape = { name: 'told', size: 64 * SECTOR, readOnly };
  return { machine, driver, bdev: new BlockDevice(shape, driver, {}, machine.sched, machine.validator) };
}

const data = (sectors: number): Pick<Bio, 'vecs' | 'length'> => ({
  vecs: [Buffer.alloc(sectors * SECTOR)],
  length: sectors * SECTOR,
});

t.test('what it refuses never reaches the driver', async (t) => {
  const { machine, driver, bdev } = device();
  const task = machine.task();
  const code = (bio: Omit<Bio, 'end_io'>): Promise<string | undefined> =>
    codeOf(() => submit_bio_wait(task, bdev, bio));
  t.equal(await code({ op: 'read', sector: 64, ...data(1) }), 'EIO');
  t.equal(await code({ op: 'write', sector: 60, ...data(5) }), 'EIO');
  t.equal(await code({ op: 'read', sector: -1, ...data(1) }), 'EINVAL');
  t.equal(await code({ op: 'read', sector: 0.5, ...data(1) }), 'EINVAL');
  t.equal(await code({ op: 'read', sector: 0, vecs: [Buffer.alloc(100)], length: 100 }), 'EINVAL');
  t.equal(await code({ op: 'read', sector: 0, vecs: [Buffer.alloc(SECTOR)], length: 2 * SECTOR }), 'EINVAL');
  t.equal(await code({ op: 'discard', sector: 0, vecs: [], length: 65 * SECTOR }), 'EIO');
  const readOnly = device(true);
  for (const op of ['write', 'discard', 'write_zeroes'] as const) {
    t.equal(await codeOf(() => submit_bio_wait(task, readOnly.bdev, { op, sector: 0, ...data(1) })), 'EROFS');
  }
  await submit_bio_wait(task, readOnly.bdev, { op: 'read', sector: 0, ...data(1) });
  await blkdev_issue_flush(task, readOnly.bdev);
  t.same(readOnly.driver.log, ['read 0+512', 'flush']);
  t.same(driver.log, []);
  t.same(machine.kinds(), []);
});

t.test('PREFLUSH comes before the data, FUA after, each after the other has ended', async (t) => {
  const { machine, driver, bdev } = device();
  driver.hold = true;
  const task = machine.task();
  let ended = false;
  const bio = {
    op: 'write' as const,
    sector: 2,
    vecs: [Buffer.alloc(SECTOR), Buffer.alloc(SECTOR)],
    length: 2 * SECTOR,
  };
  submit_bio(task, bdev, {
    ...bio,
    preflush: true,
    fua: true,
    end_io: () => {
      ended = true;
    },
  });
  const steps = ['flush', 'write 1024+512', 'write 1536+512', 'flush'];
  for (let i = 0; i < steps.length; i++) {
    t.same(driver.log, steps.slice(0, i + 1));
    t.equal(ended, false);
    driver.held.shift()?.();
    for (let hop = 0; hop < 10; hop++) await undefined;
  }
  t.equal(ended, true);
  t.equal(bdev.queue.inFlight, 0);
  t.same(machine.kinds(), []);
});

t.test('drain waits for what is under way, and for what comes meanwhile', async (t) => {
  const { machine, driver, bdev } = device();
  driver.hold = true;
  const task = machine.task();
  const order: string[] = [];
  submit_bio(task, bdev, {
    op: 'read',
    sector: 0,
    ...data(1),
    end_io: (completion) => {
      order.push('first');
      submit_bio(completion, bdev, { op: 'read', sector: 1, ...data(1), end_io: () => void order.push('second') });
    },
  });
  const drained = Promise.resolve(bdev.queue.drain(task)).then(() => order.push('drained'));
  driver.held.shift()?.();
  for (let hop = 0; hop < 20; hop++) await undefined;
  t.same(order, ['first']);
  driver.held.shift()?.();
  await drained;
  t.same(order, ['first', 'second', 'drained']);
  t.equal(machine.sched.runnable, 0, 'every task is accounted for');
  t.same(machine.kinds(), []);
});

t.test('a completion may not sleep, return a promise, or keep a lock', async (t) => {
  const { machine, bdev } = device();
  const task = machine.task();
  submit_bio(task, bdev, {
    op: 'read',
    sector: 0,
    ...data(1),
    end_io: (completion) => void bdev.open_mutex.lock(completion),
  });
  t.same(machine.kinds(), ['sleep-in-atomic', 'held-at-task-end']);
  const asynchronous: unknown = async (): Promise<void> => {
    await undefined;
  };
  submit_bio(task, bdev, { op: 'read', sector: 0, ...data(1), end_io: asynchronous as Bio['end_io'] });
  t.same(machine.kinds(), ['promise']);
  t.equal(bdev.queue.inFlight, 0);
});

t.test('a polled request completes when somebody polls', async (t) => {
  const { machine, driver, bdev } = device();
  const task = machine.task();
  const ended: (Errno | undefined)[] = [];
  const bio: Bio = {
    op: 'read',
    sector: 0,
    ...data(1),
    polled: true,
    end_io: (_task, error) => void ended.push(error),
  };
  submit_bio(task, bdev, bio);
  t.equal(ended.length, 0, 'the device is done, but nobody has asked');
  t.equal(await bio_poll(task, bdev, false), 1);
  t.equal(ended.length, 1);
  t.equal(await bio_poll(task, bdev, true), 0, 'nothing is under way: spinning would never end');
  driver.hold = true;
  submit_bio(task, bdev, bio);
  t.equal(await bio_poll(task, bdev, false), 0);
  const spun = bio_poll(task, bdev, true);
  driver.held.shift()?.();
  t.equal(await spun, 1);
  submit_bio(task, bdev, { ...bio, sector: 64 });
  await bdev.queue.drain(task);
  t.equal(ended[2]?.code, 'EIO', 'a drain completes what nobody polls for');
  t.same(machine.kinds(), []);
});

t.test('policies of a faulty device', async (t) => {
  const machine = testMachine();
  const inner = memoryDevice(64 * SECTOR, machine.sched, machine.validator);
  const policy = firstOf(failNth('write', 2), failRange('read', 10 * SECTOR, 12 * SECTOR, 'ENOSPC'), ({ op }) =>
    op === 'discard' ? { delay: 1 } : undefined,
  );
  const bdev = faultyDevice(inner, policy, machine.sched, machine.validator);
  const task = machine.task();
  const code = (op: 'read' | 'write', sector: number): Promise<string | undefined> =>
    codeOf(() => submit_bio_wait(task, bdev, { op, sector, ...data(1) }));
  t.same([await code('write', 0), await code('write', 0), await code('write', 0)], [undefined, 'EIO', undefined]);
  t.same([await code('read', 9), await code('read', 11), await code('read', 12)], [undefined, 'ENOSPC', undefined]);
  await submit_bio_wait(task, bdev, { op: 'discard', sector: 0, vecs: [], length: SECTOR });
  const torn = faultyDevice(inner, () => ({ error: 'EIO', torn: SECTOR }), machine.sched, machine.validator);
  const bytes = { vecs: [Buffer.alloc(2 * SECTOR, 7)], length: 2 * SECTOR };
  t.equal(await codeOf(() => submit_bio_wait(task, torn, { op: 'write', sector: 20, ...bytes })), 'EIO');
  const got = Buffer.alloc(2 * SECTOR);
  await submit_bio_wait(task, inner, { op: 'read', sector: 20, vecs: [got], length: got.length });
  t.same([got[0], got[SECTOR - 1], got[SECTOR]], [7, 7, 0], 'half of a torn write got through');
  t.same(machine.kinds(), []);
});
