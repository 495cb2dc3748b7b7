/**
 * Trees that have grown deep, under a journal: a directory of thousands of names, a file of many extents, an inode of many attributes are made and taken away
 * in many transactions, and a crash at any moment of that leaves something that recovers.
 */
import assert from 'node:assert/strict';
import t from 'tap';
import { freshImage, problemsOf, World } from './world.js';

const SIZE = 32 << 20;
const NAMES = 1500;
const EXTENTS = 450;
const ATTRIBUTES = 150;
const CUTS = 5;

/** Numbers that look random, and are the same each time. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function nameOf(i: number): string {
  return `name ${i} ${'x'.repeat(i % 40)}`;
}

async function fill(world: World): Promise<void> {
  await world.mkdir('dir');
  for (let i = 0; i < NAMES; i++) await world.create(`dir/${nameOf(i)}`);
  await world.create('sparse');
  const block = Buffer.alloc(4096);
  // Every other block, from the last to the first: no extent continues another.
  for (let i = EXTENTS - 1; i >= 0; i--) {
    block.fill(1 + (i % 250));
    await world.write('sparse', i * 8192, block);
    if (i % 100 === 0) await world.sync();
  }
  await world.create('attributes');
  for (let i = 0; i < ATTRIBUTES; i++) {
    await world.setxattr(
      'attributes',
      `user.${String(i).padStart(200, '-')}`,
      Buffer.alloc(i % 10 === 0 ? 9000 : 300, i),
    );
  }
  await world.sync();
}

async function empty(world: World): Promise<void> {
  for (let i = 0; i < NAMES; i++) {
    if (i % 10 !== 0) await world.unlink(`dir/${nameOf(i)}`);
    // So that the log has more than one transaction.
    if (i % 500 === 0) await world.sync();
  }
  // Punch holes that split extents no further, then cut off the rest.
  await world.fallocate('sparse', 3, 0, 4096 * 300);
  await world.truncate('sparse', 4096 * 400 + 17);
  await world.unlink('attributes');
  await world.sync();
}

/** What is there is what was made, whatever of it was taken away already. */
async function check(world: World): Promise<void> {
  const listed = await world.list('dir');
  assert.equal(new Set(listed).size, listed.length);
  const made = new Set(Array.from({ length: NAMES }, (_, i) => nameOf(i)));
  for (const name of listed) assert.ok(made.has(name), name);
  for (let i = 0; i < NAMES; i += 10) assert.ok(listed.includes(nameOf(i)), `${nameOf(i)} was never removed`);
  const bytes = await world.read('sparse');
  for (let at = 0; at + 4096 <= bytes.length; at += 4096) {
    const byte = bytes[at] ?? 0;
    const right = (at / 4096) % 2 === 0 ? [0, 1 + ((at / 8192) % 250)] : [0];
    assert.ok(
      right.includes(byte) && bytes.subarray(at, at + 4096).every((each) => each === byte),
      `block ${at / 4096}`,
    );
  }
}

t.test('they are made and taken away, and a crash leaves them whole', async (t) => {
  const world = await World.mount(await freshImage(SIZE, { random: (n) => Buffer.alloc(n, 5) }));
  await fill(world);
  await check(world);
  const before = world.driver.events.length;
  await empty(world);
  await check(world);
  const after = world.driver.events.length;
  const choose = numbers(11);
  for (let i = 0; i < CUTS; i++) {
    const cut = before + choose(after - before + 1);
    const image = world.driver.crash(cut, choose);
    t.same(await problemsOf(image), [], `cut ${cut - before} of ${after - before}: whole once the log is replayed`);
    const again = await World.mount(image);
    await check(again);
    t.equal(await again.unmount(), 0);
    t.same(await problemsOf(again.driver.now), [], 'and after the mount');
  }
  for (const name of await world.list('dir')) await world.unlink(`dir/${name}`);
  await world.rmdir('dir');
  await world.unlink('sparse');
  t.equal(await world.unmount(), 0);
  t.same(await problemsOf(world.driver.now), [], 'nothing is lost when all of it is gone');
  t.same(world.said, []);
});
