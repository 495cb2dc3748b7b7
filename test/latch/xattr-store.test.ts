/** Extended attributes against a Map: short and long values, too few blocks, and everything read again from the device. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { sb_bread } from '../../src/block/buffer-cache.js';
import type { Handle } from '../../src/latch/journal/types.js';
import { nameKey } from '../../src/latch/names.js';
import { checkXattrs } from '../../src/latch/xattr-check.js';
import type { Run } from '../../src/latch/xattr-record.js';
import { type XattrSpace, XattrStore } from '../../src/latch/xattr-store.js';
import { codeOf } from '../block/machine.js';
import { TestHost } from './btree/machine.js';

const KEY = { k0: 7, k1: 8 };

class Model {
  readonly host: TestHost;
  readonly space: XattrSpace;
  readonly values = new Map<string, Buffer>();
  store: XattrStore | undefined;
  block = 0;
  #fill = 0;

  constructor(bodyBytes: number, hashes = 0) {
    const host = new TestHost({ bodyBytes, blocks: 4000 });
    this.host = host;
    this.space = {
      bdev: host.bdev,
      ino: host.ino,
      seed: host.seed,
      unchecked: false,
      bodyBytes,
      keyOf: (name) => (hashes === 0 ? nameKey(KEY, name) : ((nameKey(KEY, name) / 256) % hashes) * 256),
      allocate: (_task, _handle, want, goal) => this.#take(want, goal),
      free: (task, handle, run) => this.#free(task, handle, run),
    };
  }

  #take(want: number, goal: number | undefined): Run {
    const start = this.host.take(goal);
    let length = 1;
    // Runs of up to three, so that long values are in pieces.
    while (length < Math.min(want, 3) && !this.host.used.has(start + length) && this.host.used.size < this.host.limit) {
      this.host.used.add(start + length++);
    }
    return { start, length };
  }

  #free(task: typeof this.host.task, handle: Handle, run: Run): void {
    for (let i = 0; i < run.length; i++) this.host.free(task, handle, run.start + i);
  }

  async open(): Promise<XattrStore> {
    if (this.store === undefined) {
      this.store =
        this.block === 0
          ? await XattrStore.create(this.host.task, this.host.handle, this.space)
          : await XattrStore.open(this.host.task, this.space, this.block);
      this.block = this.store.block;
    }
    return this.store;
  }

  async set(name: string, length: number): Promise<string | undefined> {
    const { task, handle, used } = this.host;
    const store = await this.open();
    const value = Buffer.alloc(length, ++this.#fill);
    const before = used.size;
    const old = await store.find(task, name);
    assert.equal(old !== undefined, this.values.has(name));
    const code = await codeOf(() => store.set(task, handle, name, value, old));
    if (code === undefined) this.values.set(name, value);
    else assert.equal(used.size, before, 'a set that fails takes no blocks');
    return code;
  }

  async remove(name: string): Promise<void> {
    const store = await this.open();
    const old = await store.find(this.host.task, name);
    assert.equal(old !== undefined, this.values.delete(name));
    if (old !== undefined) await store.remove(this.host.task, this.host.handle, old);
  }

  close(): void {
    this.store?.close();
    this.store = undefined;
  }

  async drop(): Promise<void> {
    this.close();
    await this.host.dropCaches();
  }

  async problems(): Promise<string[]> {
    const problems: string[] = [];
    const seen = new Set<number>();
    const see = (block: number): boolean => {
      if (seen.has(block)) problems.push(`${block} twice`);
      seen.add(block);
      return true;
    };
    await checkXattrs(this.host.task, this.host, this.block, 4000, this.space.keyOf, {
      problem: ({ block, message }) => problems.push(`${block}: ${message}`),
      node: see,
      value: (start, length) => Array.from({ length }, (_, i) => see(start + i)).every(Boolean),
    });
    for (const block of this.host.used) if (!seen.has(block)) problems.push(`${block} in use by nothing`);
    for (const block of seen) if (!this.host.used.has(block)) problems.push(`${block} not in use`);
    return problems;
  }

  async verify(): Promise<void> {
    const { task } = this.host;
    const store = await this.open();
    assert.deepEqual((await store.names(task)).sort(), [...this.values.keys()].sort());
    for (const [name, value] of this.values) {
      const record = await store.find(task, name);
      assert.ok(record !== undefined && value.equals(await store.read(task, record)), name);
    }
    this.close();
    assert.deepEqual(await this.problems(), []);
    assert.equal(this.host.referenced, 0);
  }
}

const name = fc.oneof(
  fc.integer({ min: 0, max: 30 }).map((i) => `user.name ${i}`),
  fc.integer({ min: 240, max: 255 }).map((length) => `user.${'x'.repeat(length - 5)}`),
);
const length = fc.constantFrom(0, 10, 100, 600, 1024, 1025, 4096, 4097, 20_000, 65_536);
type Step =
  | { op: 'set'; name: string; length: number }
  | { op: 'remove'; name: string }
  | { op: 'drop' }
  | { op: 'limit'; room: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('set' as const), name, length }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('remove' as const), name }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('drop' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('limit' as const), room: fc.integer({ min: 0, max: 20 }) }) },
);

t.test('they behave as a map', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 50, size: 'max' }), fc.constantFrom(0, 2), async (steps, hashes) => {
      const model = new Model(2600, hashes);
      await model.open();
      for (const each of steps) {
        if (each.op === 'set') {
          const code = await model.set(each.name, each.length);
          assert.ok(code === undefined || code === 'ENOSPC', code);
        } else if (each.op === 'remove') await model.remove(each.name);
        else if (each.op === 'drop') await model.drop();
        else model.host.limit = each.room > 18 ? Number.POSITIVE_INFINITY : model.host.used.size + each.room;
      }
      await model.verify();
      const store = await model.open();
      assert.equal(await store.removeAll(model.host.task, model.host.handle), true);
      await store.destroy(model.host.task, model.host.handle);
      assert.equal(model.host.used.size, 0, 'all blocks are given back');
      assert.equal(model.host.referenced, 0);
    }),
    { numRuns: 80 },
  );
});

t.test('names for one list, and no more', async (t) => {
  const model = new Model(4072);
  for (let i = 0; i < 256; i++) t.equal(await model.set(`user.${String(i).padStart(250, '-')}`, 3), undefined);
  t.equal(await model.set('user.one more', 3), 'ENOSPC');
  t.equal(await model.set(`user.${'0'.padStart(250, '-')}`, 700), undefined, 'what is there can still change');
  await model.verify();
  await model.drop();
  await model.verify();
});

t.test('a damaged value is an error, and fsck tells of it', async (t) => {
  const model = new Model(4072);
  await model.set('user.long', 20_000);
  await model.set('user.short', 20);
  const store = await model.open();
  const { task, bdev } = model.host;
  const record = await store.find(task, 'user.long');
  const block = record?.runs[0]?.start ?? 0;
  model.close();
  const bh = await sb_bread(task, bdev, block);
  bh.b_data.fill(0xee, 100, 101);
  bdev.buffers.setDirty(bh);
  bdev.buffers.put(bh);
  await model.drop();
  const again = await model.open();
  if (record !== undefined) t.equal(await codeOf(() => again.read(task, record)), 'EIO');
  const short = await again.find(task, 'user.short');
  t.ok(short !== undefined && (await again.read(task, short)).length === 20, 'the other one is whole');
  model.close();
  t.match((await model.problems())[0], /wrong checksum/);
});

t.test('a damaged root is refused', async (t) => {
  const model = new Model(4072);
  await model.set('user.short', 20);
  model.close();
  const { task, bdev } = model.host;
  const bh = await sb_bread(task, bdev, model.block);
  bh.b_data.fill(0xee, 4000, 4001);
  bdev.buffers.setDirty(bh);
  bdev.buffers.put(bh);
  await model.drop();
  t.equal(await codeOf(() => model.open()), 'EIO');
  t.match((await model.problems())[0], /checksum is wrong/);
});
