/** A directory against a Map: names of any bytes, hashes that collide, listings that go on while entries come and go. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { BTree } from '../../src/latch/btree/tree.js';
import { Directory, dir_format, type Entry, MAX_KEY, nameRules } from '../../src/latch/dir.js';
import { checkDirectory } from '../../src/latch/dir-check.js';
import { AREA_SIZE } from '../../src/latch/format/inode.js';
import { emptyRoot } from '../../src/latch/format/tree.js';
import { nameKey } from '../../src/latch/names.js';
import { codeOf } from '../block/machine.js';
import { problemsIn, TestHost } from './btree/machine.js';

const KEY = { k0: 0x12345678, k1: 0x9abcdef0 };

class Model {
  readonly host: TestHost;
  readonly root = Buffer.alloc(AREA_SIZE);
  readonly entries = new Map<string, Entry>();
  readonly #keyOf: (name: string) => number;
  dir: Directory;

  /** @param hashes how many different hashes there are; 0 for as many as there are */
  constructor(hashes = 0, bodyBytes?: number) {
    this.host = new TestHost({ ...(bodyBytes === undefined ? {} : { bodyBytes }), blocks: 1 << 16 });
    this.#keyOf = (name) => (hashes === 0 ? nameKey(KEY, name) : ((nameKey(KEY, name) / 256) % hashes) * 256);
    emptyRoot(this.root, dir_format.kind);
    this.dir = this.#open();
  }

  #open(): Directory {
    return new Directory(new BTree(this.host, dir_format, this.root), this.#keyOf);
  }

  async add(name: string, ino: number): Promise<string | undefined> {
    const type = ino % 16;
    const code = await codeOf(() => this.dir.add(this.host.task, this.host.handle, name, ino, type));
    if (code === undefined) {
      assert.equal(this.entries.has(name), false);
      this.entries.set(name, { ino, type });
    } else if (code === 'EEXIST') assert.ok(this.entries.has(name));
    return code;
  }

  async set(name: string, ino: number): Promise<void> {
    const code = await codeOf(() => this.dir.set(this.host.task, this.host.handle, name, ino, 3));
    assert.equal(code, this.entries.has(name) ? undefined : 'ENOENT');
    if (code === undefined) this.entries.set(name, { ino, type: 3 });
  }

  async remove(name: string): Promise<void> {
    const code = await codeOf(() => this.dir.remove(this.host.task, this.host.handle, name));
    assert.equal(code, this.entries.delete(name) ? undefined : 'ENOENT');
  }

  async drop(): Promise<void> {
    await this.host.dropCaches();
    this.dir = this.#open();
  }

  /** A listing of at most `count` entries from key `from` on. */
  async list(from = 0, count = Number.POSITIVE_INFINITY): Promise<{ name: string; entry: Entry; key: number }[]> {
    const found: { name: string; entry: Entry; key: number }[] = [];
    await this.dir.list(this.host.task, from, (name, ino, type, key) => {
      if (found.length >= count) return false;
      found.push({ name, entry: { ino, type }, key });
      return true;
    });
    return found;
  }

  problems(): Promise<string[]> {
    return problemsIn(this.host, (visitor) =>
      checkDirectory(this.host.task, this.host, this.root, 1 << 20, nameRules(this.#keyOf, false), {
        ...visitor,
        entry: () => {},
      }),
    );
  }

  async verify(): Promise<void> {
    const listed = await this.list();
    assert.deepEqual(new Map(listed.map(({ name, entry }) => [name, entry])), this.entries);
    assert.equal(listed.length, this.entries.size, 'nothing is listed twice');
    for (const { key } of listed) assert.ok(key < MAX_KEY);
    for (const [name, entry] of this.entries) assert.deepEqual(await this.dir.lookup(this.host.task, name), entry);
    assert.equal(await this.dir.isEmpty(this.host.task), this.entries.size === 0);
    assert.deepEqual(await this.problems(), []);
    assert.equal(this.host.referenced, 0);
  }
}

const name = fc.oneof(
  fc.integer({ min: 0, max: 60 }).map((i) => `file ${i}`),
  fc.uint8Array({ minLength: 1, maxLength: 255 }).map((bytes) =>
    Buffer.from(bytes)
      .toString('latin1')
      .replace(/[/\0]|^\.{1,2}$/g, '_'),
  ),
  fc.integer({ min: 250, max: 255 }).map((length) => 'x'.repeat(length)),
);

type Step =
  | { op: 'add' | 'set'; name: string; ino: number }
  | { op: 'remove' | 'lookup'; name: string }
  | { op: 'limit'; room: number }
  | { op: 'drop' | 'removeHalf' };

const ino = fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constant(2 ** 36 - 1));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ op: fc.constant('add' as const), name, ino }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('set' as const), name, ino }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constantFrom('remove' as const, 'lookup' as const), name }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('limit' as const), room: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('drop' as const, 'removeHalf' as const) }) },
);

async function run(model: Model, step: Step): Promise<void> {
  const { host } = model;
  switch (step.op) {
    case 'add': {
      const code = await model.add(step.name, step.ino);
      assert.ok(code === undefined || code === 'EEXIST' || (code === 'ENOSPC' && host.limit < 1e9), code);
      return;
    }
    case 'set':
      return model.set(step.name, step.ino);
    case 'remove':
      return model.remove(step.name);
    case 'lookup':
      assert.deepEqual(await model.dir.lookup(host.task, step.name), model.entries.get(step.name));
      return;
    case 'limit':
      host.limit = step.room === 3 ? Number.POSITIVE_INFINITY : host.used.size + step.room;
      return;
    case 'drop':
      return model.drop();
    case 'removeHalf':
      for (const each of [...model.entries.keys()].filter((_, i) => i % 2 === 0)) await model.remove(each);
  }
}

t.test('it behaves as a map', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 120, size: 'max' }),
      fc.constantFrom(0, 1, 3),
      async (steps, hashes) => {
        const model = new Model(hashes, 600);
        for (const each of steps) await run(model, each);
        await model.verify();
        for (const each of [...model.entries.keys()]) await model.remove(each);
        await model.verify();
        assert.equal(model.host.used.size, 0, 'an empty directory has no blocks');
        assert.equal(model.dir.tree.root.level, 0);
      },
    ),
    { numRuns: 120 },
  );
});

t.test('a listing in pieces shows every entry that stays once, whatever comes and goes', async () => {
  const pieces = fc.array(
    fc.record({
      count: fc.integer({ min: 1, max: 9 }),
      add: fc.array(fc.nat(300), { maxLength: 6 }),
      remove: fc.array(fc.nat(300), { maxLength: 6 }),
      drop: fc.boolean(),
    }),
    { maxLength: 40 },
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(0, 2, 7), pieces, async (hashes, plan) => {
      const model = new Model(hashes, 600);
      for (let i = 0; i < 80; i++) await model.add(`file ${i}`, i + 1);
      const stay = new Set(model.entries.keys());
      const shown = new Map<string, number>();
      let from = 0;
      for (const piece of [...plan, { count: Number.POSITIVE_INFINITY, add: [], remove: [], drop: false }]) {
        for (const { name: listed, key } of await model.list(from, piece.count)) {
          shown.set(listed, (shown.get(listed) ?? 0) + 1);
          from = key + 1;
        }
        for (const i of piece.remove) {
          stay.delete(`file ${i}`);
          await model.remove(`file ${i}`);
        }
        for (const i of piece.add) await model.add(`file ${i}`, i + 1);
        if (piece.drop) await model.drop();
      }
      for (const each of stay) assert.equal(shown.get(each), 1, each);
    }),
    { numRuns: 60 },
  );
});

t.test('256 names of one hash fit, and one more does not', async (t) => {
  const model = new Model(1);
  for (let i = 0; i < 256; i++) t.equal(await model.add(`name ${i}`, i + 1), undefined);
  t.equal(await model.add('one more', 1), 'ENOSPC');
  await model.verify();
  await model.remove('name 17');
  t.equal(await model.add('one more', 1), undefined);
  await model.verify();
});

t.test('a few names take no block, and a directory that shrinks gives its blocks back', async (t) => {
  const model = new Model();
  for (const each of ['a', 'b', 'c']) await model.add(each, 1);
  t.equal(model.host.used.size, 0);
  for (let i = 0; i < 5000; i++) await model.add(`file number ${i}`, i + 1);
  const full = model.host.used.size;
  t.ok(full < 75, `${full} blocks`);
  await model.verify();
  for (let i = 0; i < 4900; i++) await model.remove(`file number ${i}`);
  t.ok(model.host.used.size < 8, `${model.host.used.size} blocks are left`);
  await model.verify();
});

t.test('what is wrong with entries is told', async (t) => {
  const model = new Model();
  await model.add('name', 5);
  const { root } = model;
  const at = root.indexOf('name');
  root.write('nAme', at, 'latin1');
  t.match((await model.problems())[0], /"nAme" is not where its hash says/);
  root.write('n/me', at, 'latin1');
  t.match((await model.problems())[0], /is none that a file can have/);
  root.write('name', at, 'latin1');
  t.same(await model.problems(), []);
  root.writeUIntLE(0, at - 8, 6);
  t.match((await model.problems())[0], /stands for no inode/);
});
