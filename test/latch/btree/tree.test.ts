/** A B+tree against a Map: with tiny nodes, so that few records make it deep, and with too few blocks. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { sb_bread } from '../../../src/block/buffer-cache.js';
import { move } from '../../../src/latch/btree/move.js';
import { putKey, type TreeFormat } from '../../../src/latch/btree/node.js';
import { put, update } from '../../../src/latch/btree/put.js';
import { remove } from '../../../src/latch/btree/remove.js';
import { BTree, SPACE_CREDITS } from '../../../src/latch/btree/tree.js';
import type { Handle } from '../../../src/latch/journal/types.js';
import { codeOf } from '../../block/machine.js';
import { emptyRoot, problemsOf, TestHost } from './machine.js';

const ROOT = 56;
const BODY = 112;

/** Records of key, a byte that says how many follow, and these. */
function formatOf(keyBytes: 4 | 8): TreeFormat {
  return {
    name: 'test',
    kind: 9,
    keyBytes,
    minRecord: keyBytes + 1,
    maxRecord: 48,
    sizeOf: (data, at) => keyBytes + 1 + (data[at + keyBytes] ?? 0),
  };
}

function recordOf(format: TreeFormat, key: number, value: string): Buffer {
  const record = Buffer.alloc(format.keyBytes + 1 + value.length);
  putKey(format, record, 0, key);
  record[format.keyBytes] = value.length;
  record.write(value, format.keyBytes + 1, 'latin1');
  return record;
}

function valueAt(format: TreeFormat, data: Buffer, at: number): string {
  const start = at + format.keyBytes + 1;
  return data.toString('latin1', start, start + (data[at + format.keyBytes] ?? 0));
}

async function contents(host: TestHost, tree: BTree, from = 0): Promise<[number, string][]> {
  const found: [number, string][] = [];
  await tree.walk(host.task, from, (data, at, key) => {
    found.push([key, valueAt(tree.format, data, at)]);
    return true;
  });
  return found;
}

type Step =
  | { op: 'put'; key: number; length: number }
  | { op: 'remove' | 'floor' | 'walk'; key: number }
  | { op: 'removeMany'; key: number; count: number }
  | { op: 'move'; key: number; by: number }
  | { op: 'limit'; room: number }
  | { op: 'drop' };

const key = fc.oneof(fc.integer({ min: 0, max: 120 }), fc.constantFrom(2 ** 32 - 1, 2 ** 31));
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ op: fc.constant('put' as const), key, length: fc.integer({ max: 39, min: 0 }) }),
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('remove' as const), key }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('move' as const), key, by: fc.integer({ min: -3, max: 3 }) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('floor' as const, 'walk' as const), key }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('removeMany' as const), key, count: fc.integer({ min: 1, max: 60 }) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('limit' as const), room: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('drop' as const) }) },
);

class Model {
  readonly host = new TestHost({ bodyBytes: BODY, blocks: 400 });
  readonly format: TreeFormat;
  readonly root: Buffer;
  readonly records = new Map<number, string>();
  readonly handle: Handle;
  tree: BTree;
  #fill = 0;

  constructor(keyBytes: 4 | 8) {
    this.handle = this.host.counting;
    this.format = formatOf(keyBytes);
    this.root = emptyRoot(this.format, ROOT);
    this.tree = new BTree(this.host, this.format, this.root);
  }

  sorted(from = 0): [number, string][] {
    return [...this.records].filter(([at]) => at >= from).sort(([a], [b]) => a - b);
  }

  async put(at: number, length: number): Promise<void> {
    const value = String.fromCharCode(97 + (this.#fill++ % 26)).repeat(length);
    const before = [...this.root];
    const blocks = this.host.used.size;
    const credits = this.credits();
    const code = await codeOf(() => put(this.tree, this.host.task, this.handle, at, recordOf(this.format, at, value)));
    this.checkCredits(credits);
    if (code === undefined) this.records.set(at, value);
    else {
      assert.equal(code, 'ENOSPC');
      assert.deepEqual([...this.root], before, 'a put that fails changes nothing');
      assert.equal(this.host.used.size, blocks);
    }
  }

  /** What an operation may dirty from now on, without what taking a block dirties in the filesystem. */
  credits(): number {
    this.host.dirtied.clear();
    return this.tree.credits - SPACE_CREDITS;
  }

  checkCredits(credits: number): void {
    assert.ok(
      this.host.dirtied.size <= credits,
      `${this.host.dirtied.size} blocks are dirtied, ${credits} were promised`,
    );
  }

  async remove(at: number): Promise<void> {
    const credits = this.credits();
    assert.equal(await remove(this.tree, this.host.task, this.handle, at), this.records.delete(at));
    this.checkCredits(credits);
  }

  /** Give a record another key, which may go only as far as its neighbours and the leaf. */
  async move(near: number, by: number): Promise<void> {
    const sorted = this.sorted();
    const i = sorted.findIndex(([at]) => at >= near);
    const [from, value] = sorted[i] ?? [near, ''];
    const to = Math.min(Math.max(0, from + by), 2 ** 32 - 1);
    const [low, high] = [sorted[i - 1]?.[0] ?? -1, sorted[i + 1]?.[0] ?? Number.POSITIVE_INFINITY];
    const credits = this.credits();
    const used = this.host.used.size;
    const moved = await move(this.tree, this.host.task, this.handle, from, to, recordOf(this.format, to, value));
    this.checkCredits(credits);
    assert.equal(this.host.used.size, used, 'it takes no block');
    if (i < 0 || to <= low || to >= high) assert.equal(moved, false);
    else if (this.tree.root.level === 0) assert.equal(moved, true);
    if (!moved) return;
    this.records.delete(from);
    this.records.set(to, value);
  }

  async run(step: Step): Promise<void> {
    const { host } = this;
    switch (step.op) {
      case 'put':
        return this.put(step.key, step.length);
      case 'remove':
        return this.remove(step.key);
      case 'move':
        return this.move(step.key, step.by);
      case 'removeMany':
        for (const [at] of this.sorted(step.key).slice(0, step.count)) await this.remove(at);
        return;
      case 'floor': {
        const expected = this.sorted().filter(([at]) => at <= step.key);
        const found = await this.tree.floor(host.task, step.key, (data, at, k) => [k, valueAt(this.format, data, at)]);
        assert.deepEqual(found, expected[expected.length - 1]);
        return;
      }
      case 'walk':
        assert.deepEqual(await contents(host, this.tree, step.key), this.sorted(step.key));
        return;
      case 'limit':
        host.limit = step.room === 3 ? Number.POSITIVE_INFINITY : host.used.size + step.room;
        return;
      case 'drop':
        await host.dropCaches();
        this.tree = new BTree(host, this.format, Buffer.from(this.root));
        this.root.set(this.tree.root.data);
        this.tree = new BTree(host, this.format, this.root);
    }
  }

  async verify(): Promise<void> {
    assert.deepEqual(await contents(this.host, this.tree), this.sorted());
    assert.deepEqual(await problemsOf(this.host, this.tree), []);
    assert.equal(await this.tree.isEmpty(this.host.task), this.records.size === 0);
    assert.equal(this.host.referenced, 0, 'every reference was given back');
  }
}

t.test('it behaves as a map, whatever happens', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 150, size: 'max' }),
      fc.constantFrom(4 as const, 8 as const),
      async (steps, bytes) => {
        const model = new Model(bytes);
        for (const each of steps) await model.run(each);
        await model.verify();
        model.host.limit = Number.POSITIVE_INFINITY;
        for (const [at] of model.sorted()) await model.remove(at);
        await model.verify();
        assert.equal(model.host.used.size, 0, 'an empty tree has no blocks');
      },
    ),
    { numRuns: 150 },
  );
});

t.test('it grows deep, is read again from the device, and gives all back', async (t) => {
  const model = new Model(8);
  for (let i = 0; i < 600; i++) await model.put((i * 7919) % 1009, i % 40);
  t.ok(model.tree.root.level >= 4, `level ${model.tree.root.level}`);
  await model.verify();
  await model.host.dropCaches();
  await model.verify();
  for (const [at] of model.sorted().reverse()) await model.remove(at);
  await model.verify();
  t.equal(model.host.used.size, 0);
});

t.test('records that come in order leave full nodes behind', async (t) => {
  const model = new Model(4);
  for (let i = 0; i < 400; i++) await model.put(i, 8);
  // A record takes 15 bytes with its slot, of 104: six in a full leaf.
  t.ok(model.host.used.size < (400 / 6) * 1.3, `${model.host.used.size} blocks`);
});

t.test('a record is changed where it is', async (t) => {
  const model = new Model(8);
  for (let i = 0; i < 100; i++) await model.put(i * 3, 8);
  const { host, tree } = model;
  const change = (data: Buffer, at: number, letter: string): void => {
    data.fill(letter, at + 9, at + 17, 'latin1');
  };
  t.equal(await update(tree, host.task, host.handle, 150, change, 'X'), true);
  t.equal(await update(tree, host.task, host.handle, 151, change, 'Y'), false);
  model.records.set(150, 'X'.repeat(8));
  await host.dropCaches();
  await model.verify();
});

t.test('what is cached is found without a promise', async (t) => {
  const model = new Model(8);
  for (let i = 0; i < 100; i++) await model.put(i, 8);
  const { host, tree } = model;
  t.equal(
    tree.floor(host.task, 50, (_data, _at, found) => found),
    50,
  );
  t.equal(
    tree.walk(host.task, 0, () => true),
    true,
  );
  t.equal(put(tree, host.task, host.handle, 50, recordOf(model.format, 50, 'same len')), undefined);
});

t.test('a damaged node is refused, and told of', async (t) => {
  const damage: [string, (data: Buffer) => void, RegExp][] = [
    ['a flipped bit', (data) => data.writeUInt8((data[60] ?? 0) ^ 1, 60), /checksum/],
    ['no node', (data) => data.fill(0), /no node of a tree/],
  ];
  for (const [name, spoil, message] of damage) {
    const model = new Model(8);
    for (let i = 0; i < 40; i++) await model.put(i, 8);
    const { host, tree } = model;
    const block = tree.root.child(0);
    const bh = await sb_bread(host.task, host.bdev, block);
    spoil(bh.b_data);
    host.bdev.buffers.setDirty(bh);
    host.bdev.buffers.put(bh);
    await host.dropCaches();
    t.equal(await codeOf(() => contents(host, tree)), 'EIO', name);
    t.equal(await codeOf(() => put(tree, host.task, host.handle, 0, recordOf(model.format, 0, 'x'))), 'EIO', name);
    const problems = await problemsOf(host, tree);
    t.match(problems[0], new RegExp(`^${block}: .*${message.source}`), name);
    t.equal(host.referenced, 0);
  }
});

t.test('a node of another tree is refused', async (t) => {
  const model = new Model(8);
  for (let i = 0; i < 40; i++) await model.put(i, 8);
  await model.host.dropCaches();
  const { task, bdev } = model.host;
  const other = { ...model.host, task, bdev, ino: 77, seed: 0x4321, bodyBytes: BODY };
  const stranger = new BTree(
    { ...other, allocate: () => 0, free: () => {}, root_access: () => {}, root_changed: () => {} },
    model.format,
    model.root,
  );
  t.equal(await codeOf(() => stranger.walk(task, 0, () => true)), 'EIO');
});
