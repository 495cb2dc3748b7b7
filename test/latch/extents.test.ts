/** The extents of a file against an array of blocks: with tiny nodes, too few blocks, and handles that run out of credits. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { BTree, SPACE_CREDITS } from '../../src/latch/btree/tree.js';
import { endOf, MAX_LOGICAL } from '../../src/latch/extent-list.js';
import { ExtentTree, extent_format } from '../../src/latch/extents.js';
import { type BlockSource, fillHole, insertExtent, markBlocks, unmapBlocks } from '../../src/latch/extents-change.js';
import { checkExtents } from '../../src/latch/extents-check.js';
import { type ShiftRest, shiftBlocks } from '../../src/latch/extents-shift.js';
import { AREA_SIZE, type Extent } from '../../src/latch/format/inode.js';
import { emptyRoot } from '../../src/latch/format/tree.js';
import type { Handle } from '../../src/latch/journal/types.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { codeOf } from '../block/machine.js';
import { problemsIn, problemsOf, TestHost } from './btree/machine.js';

const BLOCKS = 64;

/** A handle that can afford so many steps until it is restarted. */
function stingy(handle: Handle, steps: number): Handle {
  let left = steps;
  return Object.assign(Object.create(handle), {
    get credits(): number {
      return left-- > 0 ? 1000 : 0;
    },
    extend: () => false,
    restart: () => {
      left = steps;
    },
    get_write_access: handle.get_write_access.bind(handle),
    dirty_metadata: handle.dirty_metadata.bind(handle),
    forget: handle.forget.bind(handle),
  });
}

interface Block {
  physical: number;
  unwritten: boolean;
}

type Step =
  | { op: 'insert'; at: number; count: number; unwritten: boolean; near: boolean }
  | { op: 'remove' | 'mark'; at: number; count: number; unwritten: boolean }
  | { op: 'collapse' | 'open'; at: number; count: number }
  | { op: 'limit'; room: number }
  | { op: 'drop' };

const range = { at: fc.integer({ min: 0, max: BLOCKS - 1 }), count: fc.integer({ min: 1, max: 20 }) };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ op: fc.constant('insert' as const), ...range, unwritten: fc.boolean(), near: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('remove' as const), ...range, unwritten: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('mark' as const), ...range, unwritten: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('collapse' as const, 'open' as const), ...range }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('limit' as const), room: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('drop' as const) }) },
);

class Model {
  readonly host = new TestHost({ bodyBytes: 64, blocks: 400 });
  readonly root = Buffer.alloc(36);
  readonly handle: Handle;
  blocks: (Block | undefined)[] = new Array(BLOCKS).fill(undefined);
  extents: ExtentTree;
  #physical = 1000;

  /** Steps that the handle affords before it is restarted. */
  readonly steps: number;

  constructor(steps: number) {
    this.steps = steps;
    emptyRoot(this.root, extent_format.kind);
    this.handle = stingy(this.host.counting, steps);
    this.extents = this.#open(this.root);
  }

  #open(root: Buffer): ExtentTree {
    return new ExtentTree(new BTree(this.host, extent_format, root), new RwSem('i_data_sem'));
  }

  /** Run one call of a change that the handle can afford one step of: what that dirties was promised. */
  async #counted<T>(body: () => Promise<T>): Promise<T> {
    const credits = this.extents.credits - SPACE_CREDITS;
    this.host.dirtied.clear();
    const result = await body();
    const dirtied = this.host.dirtied.size;
    if (this.steps === 1) assert.ok(dirtied <= credits, `${dirtied} blocks are dirtied, ${credits} were promised`);
    return result;
  }

  /** What the array says, as a list of extents. */
  list(): Extent[] {
    const list: Extent[] = [];
    this.blocks.forEach((block, logical) => {
      if (block === undefined) return;
      const last = list[list.length - 1];
      const goesOn = last !== undefined && endOf(last) === logical && last.physical + last.length === block.physical;
      if (goesOn && last.unwritten === block.unwritten) last.length++;
      else list.push({ logical, length: 1, ...block });
    });
    return list;
  }

  async #insert(at: number, count: number, unwritten: boolean, near: boolean): Promise<void> {
    let length = 0;
    while (length < count && at + length < BLOCKS && this.blocks[at + length] === undefined) length++;
    if (length === 0) {
      const mapped = { logical: at, physical: 1, length: 1, unwritten };
      assert.equal(await codeOf(() => insertExtent(this.extents, this.host.task, this.handle, mapped)), 'EIO');
      return;
    }
    const before = this.blocks[at - 1];
    const physical = near && before !== undefined ? before.physical + 1 : this.#physical;
    this.#physical += 100;
    const credits = this.extents.credits - SPACE_CREDITS;
    this.host.dirtied.clear();
    const code = await codeOf(() =>
      insertExtent(this.extents, this.host.task, this.handle, { logical: at, physical, length, unwritten }),
    );
    assert.ok(
      this.host.dirtied.size <= credits,
      `${this.host.dirtied.size} blocks are dirtied, ${credits} were promised`,
    );
    if (code === undefined)
      for (let i = 0; i < length; i++) this.blocks[at + i] = { physical: physical + i, unwritten };
    else assert.equal(code, 'ENOSPC');
  }

  async #remove(start: number, end: number): Promise<void> {
    const freed: number[] = [];
    const expected: number[] = [];
    const gone = (_task: unknown, _handle: unknown, piece: Extent): void => {
      for (let i = 0; i < piece.length; i++) freed.push(piece.physical + i);
      for (let i = piece.logical; i < endOf(piece); i++) {
        expected.push(this.blocks[i]?.physical ?? -1);
        this.blocks[i] = undefined;
      }
    };
    let to = end;
    const code = await codeOf(async () => {
      do {
        const last = to;
        to = await this.#counted(() =>
          unmapBlocks(this.extents, this.host.task, this.handle, start, last, gone, undefined),
        );
        await this.handle.restart(this.host.task, 1);
      } while (to > start);
    });
    assert.ok(code === undefined || code === 'ENOSPC', code);
    assert.deepEqual(freed, expected);
    if (code === undefined) assert.ok(this.blocks.slice(start, end).every((block) => block === undefined));
  }

  async #mark(start: number, end: number, unwritten: boolean): Promise<void> {
    let from = start;
    const code = await codeOf(async () => {
      while (from < end) {
        const first = from;
        from = await this.#counted(() => markBlocks(this.extents, this.host.task, this.handle, first, end, unwritten));
        await this.handle.restart(this.host.task, 1);
      }
    });
    if (code === 'ENOSPC') {
      // What was done before stays: the rest of the test goes on from there.
      await this.#learn(start, end, unwritten);
      return;
    }
    assert.equal(code, undefined);
    for (const block of this.blocks.slice(start, end)) if (block !== undefined) block.unwritten = unwritten;
  }

  /** Take over from the tree which blocks have come to be `unwritten`; nothing else may have changed. */
  async #learn(start: number, end: number, unwritten: boolean): Promise<void> {
    for (let at = start; at < end; at++) {
      const block = this.blocks[at];
      const extent = await this.extents.find(this.host.task, at);
      if (block !== undefined && extent?.unwritten === unwritten) block.unwritten = unwritten;
    }
  }

  async #shift(from: number, by: number): Promise<void> {
    let rest: ShiftRest | undefined = { from, to: MAX_LOGICAL };
    const limit = this.host.limit;
    this.host.limit = Number.POSITIVE_INFINITY;
    while (rest !== undefined) {
      const { from: low, to: high }: ShiftRest = rest;
      rest = await this.#counted(() => shiftBlocks(this.extents, this.host.task, this.handle, low, high, by));
      await this.handle.restart(this.host.task, 1);
    }
    this.host.limit = limit;
  }

  async run(step: Step): Promise<void> {
    switch (step.op) {
      case 'insert':
        return this.#insert(step.at, step.count, step.unwritten, step.near);
      case 'remove':
        return this.#remove(step.at, step.at + step.count);
      case 'mark':
        return this.#mark(step.at, step.at + step.count, step.unwritten);
      case 'collapse': {
        const end = Math.min(BLOCKS, step.at + step.count);
        const limit = this.host.limit;
        this.host.limit = Number.POSITIVE_INFINITY;
        await this.#remove(step.at, end);
        this.host.limit = limit;
        await this.#shift(end, step.at - end);
        this.blocks.splice(step.at, end - step.at);
        while (this.blocks.length < BLOCKS) this.blocks.push(undefined);
        return;
      }
      case 'open':
        await this.#shift(step.at, step.count);
        this.blocks.splice(step.at, 0, ...new Array(step.count).fill(undefined));
        await this.#remove(BLOCKS, MAX_LOGICAL);
        this.blocks.length = BLOCKS;
        return;
      case 'limit':
        this.host.limit = step.room === 3 ? Number.POSITIVE_INFINITY : this.host.used.size + step.room;
        return;
      case 'drop':
        await this.host.dropCaches();
        this.extents = this.#open(this.root);
    }
  }

  problems(): Promise<string[]> {
    return problemsIn(this.host, (visitor) =>
      checkExtents(this.host.task, this.host, this.root, 1 << 20, { ...visitor, extent: () => {} }),
    );
  }

  async verify(): Promise<void> {
    const { task } = this.host;
    const found: Extent[] = [];
    await this.extents.iterate(task, 0, (extent) => found.push(extent) > 0);
    assert.deepEqual(found, this.list());
    for (let at = 0; at < BLOCKS; at++) {
      const extent = await this.extents.find(task, at);
      const block = this.blocks[at];
      assert.equal(extent === undefined ? undefined : extent.physical + at - extent.logical, block?.physical);
      assert.equal(extent?.unwritten, block?.unwritten);
      const next = await this.extents.next(task, at);
      assert.deepEqual(
        next,
        this.list().find((each) => endOf(each) > at),
      );
    }
    assert.deepEqual(await this.problems(), []);
    assert.equal(this.host.referenced, 0);
    assert.equal(task.held.length, 0);
  }
}

t.test('it behaves as an array of blocks', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60, size: 'max' }),
      fc.constantFrom(1, 2, 1000),
      async (steps, credits) => {
        const model = new Model(credits);
        for (const each of steps) {
          await model.run(each);
          if (steps.length < 15) await model.verify();
        }
        await model.verify();
        await model.run({ op: 'remove', at: 0, count: BLOCKS, unwritten: false });
        await model.verify();
        assert.equal(model.host.used.size, 0, 'no extents, no blocks');
      },
    ),
    { numRuns: 150 },
  );
});

t.test('what was found is not looked up again until something changes', async (t) => {
  const { host, handle, extents } = new Model(1000);
  const { task } = host;
  const insert = (logical: number): Promise<void> | void =>
    insertExtent(extents, task, handle, { logical, physical: logical + 100, length: 4, unwritten: false });
  const locks = async (...blocks: number[]): Promise<[(number | undefined)[], number]> => {
    const { taken } = task;
    const found = [];
    for (const block of blocks) found.push((await extents.find(task, block))?.physical);
    return [found, task.taken - taken];
  };
  await insert(20);
  t.same(await locks(10, 11, 19), [[undefined, undefined, undefined], 1], 'a hole up to the next extent');
  t.same(await locks(20, 23, 12), [[120, 120, undefined], 1], 'and an extent beside it');
  t.same(await locks(24, 1000), [[undefined, undefined], 1], 'another hole, without an end');
  await insert(12);
  t.same(await locks(12, 1000), [[112, undefined], 2], 'a change makes it forget');
});

t.test('two who come to one hole do not both fill it', async (t) => {
  const { host, handle, extents } = new Model(1000);
  const other = new TestHost().task;
  await insertExtent(extents, host.task, handle, { logical: 20, physical: 120, length: 4, unwritten: false });
  let go = (): void => undefined;
  const waiting = new Promise<void>((resolve) => {
    go = resolve;
  });
  const wanted: number[] = [];
  const giveBack = (): never => assert.fail('nothing is given back');
  const first = fillHole(extents, host.task, handle, { logical: 10, length: 100 }, false, {
    allocate: async (_before, length) => {
      wanted.push(length);
      await waiting;
      return { start: 500, length: 6 };
    },
    giveBack,
  });
  const source: BlockSource = {
    allocate: (_before, length) => {
      wanted.push(length);
      return { start: 600, length };
    },
    giveBack,
  };
  const second = fillHole(extents, other, handle, { logical: 12, length: 4 }, true, source);
  const third = fillHole(extents, other, handle, { logical: 16, length: 100 }, true, source);
  go();
  t.same(await Promise.all([first, second, third]), [6, 0, 4], 'the second finds its block mapped');
  t.same(wanted, [10, 4], 'up to the next extent');
  t.match(await extents.find(host.task, 12), { physical: 500, length: 6, unwritten: false });
});

t.test('many thousands of extents of a sparse file', async (t) => {
  const host = new TestHost();
  const root = Buffer.alloc(AREA_SIZE);
  emptyRoot(root, extent_format.kind);
  const extents = new ExtentTree(new BTree(host, extent_format, root), new RwSem('i_data_sem'));
  const model = new Map<number, number>();
  const count = 20_000;
  for (let i = 0; i < count; i++) {
    // Every other block at most, all over 1 TiB: none of them continues another.
    const logical = ((i * 2_654_435_761) % 2 ** 27) * 2;
    if (model.has(logical)) continue;
    model.set(logical, i + 1);
    const mapped = insertExtent(extents, host.task, host.handle, {
      logical,
      physical: i + 1,
      length: 1,
      unwritten: false,
    });
    if (mapped instanceof Promise) await mapped;
  }
  t.ok(host.used.size < (count / 290) * 2, `${host.used.size} blocks hold ${model.size} extents`);
  await host.dropCaches();
  const wrong = [];
  for (const [logical, physical] of model) {
    const extent = await extents.find(host.task, logical);
    if (extent?.physical !== physical || (await extents.find(host.task, logical + 1)) !== undefined)
      wrong.push(logical);
  }
  t.same(wrong, []);
  t.same(await problemsOf(host, extents.tree), []);
  let freed = 0;
  const count_freed = (_task: unknown, _handle: unknown, piece: Extent): void => {
    freed += piece.length;
  };
  await unmapBlocks(extents, host.task, host.handle, 0, MAX_LOGICAL, count_freed, undefined);
  t.equal(freed, model.size);
  t.equal(host.used.size, 0);
});

t.test('what is moved too far is refused', async (t) => {
  const model = new Model(1000);
  const far = { logical: MAX_LOGICAL - 10, physical: 5, length: 5, unwritten: true };
  await insertExtent(model.extents, model.host.task, model.handle, far);
  t.equal(await codeOf(() => shiftBlocks(model.extents, model.host.task, model.handle, 0, MAX_LOGICAL, 6)), 'EFBIG');
  t.equal(await shiftBlocks(model.extents, model.host.task, model.handle, 0, MAX_LOGICAL, 5), undefined);
  t.same(await model.extents.next(model.host.task, 0), { ...far, logical: MAX_LOGICAL - 5 });
});

t.test('what is wrong with extents is told', async (t) => {
  const model = new Model(1000);
  const { host, handle, extents, root } = model;
  await insertExtent(extents, host.task, handle, { logical: 3, physical: 50, length: 4, unwritten: false });
  await insertExtent(extents, host.task, handle, { logical: 9, physical: 70, length: 1, unwritten: false });
  t.same(await model.problems(), []);
  // The records grow down from the end of the root: the first one is the last 12 bytes.
  const [first, second] = [root.length - 12, root.length - 24];
  root.writeUInt32LE(7, first + 4);
  t.match((await model.problems())[0], /block 9 overlaps/);
  root.writeUInt32LE(6, first + 4);
  root.writeUInt32LE(56, second + 8);
  t.match((await model.problems())[0], /should be one/);
  root.writeUInt32LE(2 ** 31, second + 8);
  t.match((await model.problems())[0], /outside of the device/);
  root.writeUInt32LE(0, second + 4);
  t.match((await model.problems())[0], /is empty/);
});
