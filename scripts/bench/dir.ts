/**
 * What names cost in directories of different sizes, within the process: through the VFS on a filesystem in memory, so that the path through the kernel does
 * not hide it. `scripts/bench/run dir [COUNT ...]`; by default 1,000, 10,000 and 100,000. Microseconds of processor time for each name; `create` at the start (the second
 * tenth, once the code is warm) and at the end (the last tenth); `lookup` of names that no cache of names has, there or not.
 */
import Table from 'cli-table3';
import { memoryDevice } from '../../src/block/memory-device.js';
import { newMachine } from '../../src/cli/machine.js';
import { dput } from '../../src/fs/dcache.js';
import { shrink_dcache_sb } from '../../src/fs/dcache-shrink.js';
import type { Dentry } from '../../src/fs/dentry.js';
import { fput } from '../../src/fs/file-table.js';
import { do_create, do_mkdir, do_unlink, lookup_one } from '../../src/fs/namei.js';
import { vfs_open } from '../../src/fs/open.js';
import { iterate_dir } from '../../src/fs/readdir.js';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import type { SuperBlock } from '../../src/fs/super-block.js';
import { mkfs } from '../../src/latch/mkfs.js';
import { latch_fs_type } from '../../src/latch/super.js';
import { Task } from '../../src/sched/task.js';

const LOOKUPS = 20_000;

/** Microseconds of processor time so far: nothing in here waits for a device, and other processes do not count. */
function now(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Run `body` for 0 to `count` exclusive. @returns microseconds each */
async function each(from: number, to: number, body: (i: number) => Promise<unknown> | unknown): Promise<number> {
  const start = now();
  for (let i = from; i < to; i++) {
    const done = body(i);
    if (done instanceof Promise) await done;
  }
  return (now() - start) / (to - from);
}

interface Row {
  readonly count: number;
  readonly first: number;
  readonly last: number;
  readonly there: number;
  readonly absent: number;
  readonly list: number;
  readonly unlink: number;
  /** Bytes that the process has after the creates. */
  readonly memory: number;
}

async function lookups(sb: SuperBlock, task: Task, dir: Dentry, nameOf: (i: number) => string): Promise<number> {
  await shrink_dcache_sb(task, sb);
  return each(0, LOOKUPS, async (i) => dput(task, await lookup_one(task, dir, nameOf(i))));
}

async function list(task: Task, dir: Dentry): Promise<number> {
  const file = await vfs_open(task, dir, 0, false);
  let seen = 0;
  for (let pos = 0, before = -1; pos !== before; ) {
    before = pos;
    // As much as fits in the 32 KiB that getdents has.
    let room = 1000;
    const context = { pos, actor: () => room-- > 0 && ++seen > 0 };
    await iterate_dir(task, file, context);
    pos = context.pos;
  }
  await fput(task, file);
  return seen - 2;
}

async function measure(count: number): Promise<Row> {
  const machine = newMachine({ enforce: 'warn', stacks: false, sink: (violation) => console.error(violation.message) });
  const bdev = memoryDevice(16 * 2 ** 30, machine.sched, machine.validator);
  await mkfs(new Task(machine.sched, machine.validator, { comm: 'mkfs' }), bdev);
  const sb = await vfs_mount(machine, latch_fs_type, bdev, 0);
  const task = sb.newTask({ comm: 'bench' });
  const root = sb.s_root;
  if (root === undefined) throw new Error('no root');
  const dir = await do_mkdir(task, root, 'dir', 0o755);
  const tenth = Math.floor(count / 10);
  const create = async (i: number): Promise<void> => dput(task, await do_create(task, dir, `file${i}`, 0o644, true));
  await each(0, tenth, create);
  const first = await each(tenth, 2 * tenth, create);
  await each(2 * tenth, count - tenth, create);
  const last = await each(count - tenth, count, create);
  const memory = process.memoryUsage().rss;
  const there = await lookups(sb, task, dir, (i) => `file${(i * 7919) % count}`);
  const absent = await lookups(sb, task, dir, (i) => `none${i}`);
  const start = now();
  const listed = await list(task, dir);
  const each_listed = (now() - start) / count;
  if (listed !== count) throw new Error(`${listed} names are listed, not ${count}`);
  const unlink = await each(0, count, (i) => do_unlink(task, dir, `file${i}`));
  await dput(task, dir);
  await kill_sb(sb);
  return { count, first, last, there, absent, list: each_listed, unlink, memory };
}

const counts = process.argv.slice(2).map(Number);
const table = new Table({
  head: ['names', 'create, start', 'create, end', 'ratio', 'lookup', 'lookup, absent', 'list', 'unlink', 'RSS, MiB'],
  style: { head: [], border: [], compact: true },
});
for (const count of counts.length > 0 ? counts : [1000, 10_000, 100_000]) {
  const { first, last, there, absent, list: listed, unlink, memory } = await measure(count);
  const cells = [first, last].map((value) => value.toFixed(1));
  cells.push((last / first).toFixed(2), there.toFixed(1), absent.toFixed(1), listed.toFixed(2), unlink.toFixed(1));
  table.push([count.toLocaleString('en-US'), ...cells, (memory / 2 ** 20).toFixed(0)]);
}
console.log(table.toString());
process.exit(0);
