/** The tree in a quota file, against a map; and a file that ext4's tools have made. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ENTRY, QuotaTree, type TreeInfo } from '../../../src/fs/quota/quota-tree.js';
import { quotasIn } from '../../../src/fs/quota/quota-v2.js';
import { GRPQUOTA, USRQUOTA } from '../../../src/fs/quota/types.js';
import { errno } from '../../../src/sched/errno.js';
import { outcome } from '../world.js';
import { FakeFs } from './fake.js';

class MemoryFile {
  /** Bytes that there is room for. */
  room = Number.POSITIVE_INFINITY;
  bytes = Buffer.alloc(2048);
  readonly info: TreeInfo = { blocks: 2, freeBlock: 0, freeEntry: 0 };
  readonly tree = new QuotaTree(
    {
      read: (_task, length, offset) => Buffer.from(this.bytes.subarray(offset, offset + length)),
      write: (_task, bytes, offset) => {
        if (offset + bytes.length > this.room) throw errno('ENOSPC');
        if (offset + bytes.length > this.bytes.length) this.bytes = Buffer.concat([this.bytes], offset + bytes.length);
        bytes.copy(this.bytes, offset);
      },
    },
    this.info,
    () => undefined,
  );

  /** As the format does: the place is filled at once. */
  fill(at: number, id: number): void {
    this.bytes.writeUInt32LE(id, at);
    this.bytes.writeUInt32LE(1, at + ENTRY - 8);
  }
}

/** A generator of numbers that gives the same ones each time. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

t.test('quotas come and go as in a map, and what was given back is used again', async (t) => {
  const { sched, validator } = await FakeFs.mount();
  const { Task } = await import('../../../src/sched/task.js');
  const task = new Task(sched, validator);
  const file = new MemoryFile();
  const model = new Map<number, number>();
  const pick = numbers(7);
  const ids = [0, 1, 255, 256, 65535, 65536, 0xfffffffe, ...Array.from({ length: 90 }, () => pick(2 ** 32 - 1))];
  let most = 0;
  for (let round = 0; round < 1500; round++) {
    const id = ids[pick(ids.length)] ?? 0;
    const place = model.get(id);
    if (place === undefined) {
      const at = await file.tree.insert(task, id);
      file.fill(at, id);
      model.set(id, at);
    } else {
      await file.tree.remove(task, id, place);
      model.delete(id);
    }
    if (round === 700) most = file.info.blocks;
  }
  for (const id of ids) t.equal(await file.tree.find(task, id), model.get(id) ?? 0);
  const listed: number[] = [];
  for (let id = await file.tree.next(task, 0); id !== undefined; id = await file.tree.next(task, id + 1))
    listed.push(id);
  t.same(
    listed,
    [...model.keys()].sort((a, b) => a - b),
  );
  t.ok(file.info.blocks < most * 1.5, 'the file does not grow with what comes and goes');
  for (const [id, place] of model) await file.tree.remove(task, id, place);
  t.equal(await file.tree.next(task, 0), undefined);
  t.equal(file.info.freeEntry, 0, 'no block of quotas is left');
  let free = 0;
  for (let block = file.info.freeBlock; block !== 0; block = file.bytes.readUInt32LE(block * 1024)) free++;
  t.equal(free, file.info.blocks - 2, 'all blocks but the first two are free');
});

t.test('where the file cannot grow no block is lost', async (t) => {
  const fs = await FakeFs.mount();
  const task = fs.task();
  for (let blocks = 0; blocks < 6; blocks++) {
    const file = new MemoryFile();
    // One that has a block of its own for its quota: its fellows need one more.
    for (let id = 0; id < 14; id++) file.fill(await file.tree.insert(task, id), id);
    file.room = file.bytes.length + blocks * 1024;
    const put = async (id: number): Promise<string> =>
      outcome(async () => file.fill(await file.tree.insert(task, id), id));
    const far = Array.from({ length: 10 }, (_, i) => (i + 1) * 2 ** 24);
    const results: string[] = [];
    for (const id of far) results.push(await put(id));
    t.match(results.at(-1), 'ENOSPC');
    t.ok(file.info.blocks * 1024 <= file.room, `${file.info.blocks} blocks in ${file.room} bytes`);
    for (const [i, id] of far.entries()) t.equal((await file.tree.find(task, id)) > 0, results[i] === 'ok');
    file.room = Number.POSITIVE_INFINITY;
    for (const [i, id] of far.entries()) if (results[i] !== 'ok') t.equal(await put(id), 'ok');
    for (const id of [...Array.from({ length: 14 }, (_, i) => i), ...far]) {
      await file.tree.remove(task, id, await file.tree.find(task, id));
    }
    let free = 0;
    for (let block = file.info.freeBlock; block !== 0; block = file.bytes.readUInt32LE(block * 1024)) free++;
    t.equal(free, file.info.blocks - 2, 'all blocks but the first two are free');
  }
});

t.test('a tree that leads astray is refused', async (t) => {
  const fs = await FakeFs.mount();
  const task = fs.task();
  const file = new MemoryFile();
  const at = await file.tree.insert(task, 5);
  file.fill(at, 5);
  const bad = [
    ['a block beyond the end', () => file.bytes.writeUInt32LE(999, 1024)],
    ['a quota of another id', () => file.bytes.writeUInt32LE(6, at)],
  ] as const;
  for (const [what, damage] of bad) {
    const whole = Buffer.from(file.bytes);
    damage();
    t.equal(await outcome(() => file.tree.find(task, 5)), 'EIO', what);
    file.bytes = whole;
  }
  t.equal(await outcome(() => file.tree.insert(task, 5)), 'EIO', 'one that is there already');
  t.equal(await outcome(() => file.tree.remove(task, 6, at)), 'EIO', 'one that is not there');
});

t.test('the files of an ext4 can be read', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'latchfs-quota-'));
  try {
    const image = join(dir, 'ext4');
    execFileSync('mkfs.ext4', ['-q', '-O', 'quota', '-E', 'root_owner=1234:5678', image, '8M']);
    const { task } = await FakeFs.mount().then((fs) => ({ task: fs.task() }));
    for (const [type, ino, id] of [
      [USRQUOTA, 3, 1234],
      [GRPQUOTA, 4, 5678],
    ] as const) {
      const file = join(dir, `quota${type}`);
      execFileSync('debugfs', ['-R', `dump <${ino}> ${file}`, image], { stdio: 'ignore' });
      const quotas = await quotasIn(task, type, readFileSync(file));
      t.equal(quotas.get(id)?.dqb_curinodes, 1, 'the root directory');
      t.ok((quotas.get(id)?.dqb_curspace ?? 0) >= 1024);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
