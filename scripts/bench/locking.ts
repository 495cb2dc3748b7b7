/**
 * What the checks cost: the same work with enforce=off and enforce=warn, in one process, in interleaved rounds, by medians of the
 * processor time (a machine that others use as well spoils clock time). Run it pinned:
 * `taskset -c 1 node dist/scripts/bench/locking.js [ROUNDS]`. Each line is one kind of work; the last column is the part of its throughput
 * that all checks together take.
 */
import { openSource } from '../../src/cli/machine.js';
import { inode_operations } from '../../src/contract/inode.js';
import { dput } from '../../src/fs/dcache.js';
import type { File } from '../../src/fs/file.js';
import { fput } from '../../src/fs/file-table.js';
import { open_or_create } from '../../src/fs/namei/open-last.js';
import { do_unlink } from '../../src/fs/namei.js';
import { vfs_iter_read, vfs_iter_write } from '../../src/fs/read-write.js';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import type { SuperBlock } from '../../src/fs/super-block.js';
import { mkfs } from '../../src/latch/mkfs.js';
import { latch_fs_type } from '../../src/latch/super.js';
import { call, take, task_end } from '../../src/locking/context.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { MemoryControl } from '../../src/mm/memory.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';

const ROUNDS = Number(process.argv[2] ?? 9);
const O_RDWR_CREAT = 0o102;
const FILE_BYTES = 4 * 2 ** 20;
const CHUNK = 4096;

const validator = new Lockdep('warn', (violation) => console.error(violation.message));
const sched = new RealScheduler();
const machine = { sched, validator, memory: new MemoryControl(sched, { limit: 256 * 2 ** 20, validator }) };

function newTask(): Task {
  return new Task(sched, validator, { comm: 'bench' });
}

async function mounted(): Promise<SuperBlock> {
  const bdev = openSource(machine, 'memory:256M', undefined, false);
  await mkfs(newTask(), bdev);
  return vfs_mount(machine, latch_fs_type, bdev, 0);
}

interface Work {
  readonly name: string;
  readonly count: number;
  run(count: number): Promise<void>;
}

/** One request each: a task, the call, the end of the task. */
function ofData(file: File): Work[] {
  const data = Buffer.alloc(CHUNK, 7);
  const pages = FILE_BYTES / CHUNK;
  const options = { direct: false };
  return [
    {
      name: 'write 4 KiB',
      count: 60_000,
      run: async (count) => {
        for (let i = 0; i < count; i++) {
          const task = newTask();
          const n = vfs_iter_write(task, file, IovIter.ofSource(data), (i % pages) * CHUNK, options);
          if (n instanceof Promise) await n;
          task_end(task);
        }
      },
    },
    {
      name: 'read 4 KiB',
      count: 100_000,
      run: async (count) => {
        for (let i = 0; i < count; i++) {
          const task = newTask();
          const iter = IovIter.ofDest(CHUNK);
          const n = vfs_iter_read(task, file, iter, ((i * 7) % pages) * CHUNK, options);
          if (n instanceof Promise) await n;
          iter.release();
          task_end(task);
        }
      },
    },
  ];
}

function ofNames({ s_root: root }: SuperBlock): Work {
  if (root === undefined) throw new Error('not mounted');
  return {
    name: 'create and unlink',
    count: 2_000,
    run: async (count) => {
      for (let i = 0; i < count; i++) {
        const task = newTask();
        const made = await open_or_create(task, root, `f${i}`, O_RDWR_CREAT, 0o644);
        await fput(task, made.file);
        await dput(task, made.dentry);
        await do_unlink(task, root, `f${i}`);
        task_end(task);
      }
    },
  };
}

/** The checks alone. */
function ofLocks(): Work {
  const rwsem = new RwSem('i_rwsem');
  return {
    name: 'take, call, release',
    count: 300_000,
    run: async (count) => {
      const task = newTask();
      for (let i = 0; i < count; i++) {
        const held = take(task, inode_operations.setattr, 'inode', rwsem);
        if (held instanceof Promise) throw new Error('a free lock was not taken at once');
        call(task, inode_operations.setattr, { inode: rwsem }, () => undefined);
        held.release();
      }
    },
  };
}

function works(sb: SuperBlock, file: File): Work[] {
  return [...ofData(file), ofNames(sb), ofLocks()];
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

async function measure(work: Work, enforce: 'off' | 'warn'): Promise<number> {
  validator.enforce = enforce;
  const start = process.cpuUsage();
  await work.run(work.count);
  const used = process.cpuUsage(start);
  return ((used.user + used.system) * 1000) / work.count;
}

const sb = await mounted();
const root = sb.s_root;
if (root === undefined) throw new Error('not mounted');
const opened = await open_or_create(newTask(), root, 'data', O_RDWR_CREAT, 0o644);
console.log(`${'work'.padEnd(22)}${'off, ns'.padStart(10)}${'warn, ns'.padStart(10)}${'checks'.padStart(9)}`);
for (const work of works(sb, opened.file)) {
  await measure(work, 'off');
  await measure(work, 'warn');
  const off: number[] = [];
  const on: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    off.push(await measure(work, 'off'));
    on.push(await measure(work, 'warn'));
  }
  const [a, b] = [median(off), median(on)];
  const part = `${(100 * (1 - a / b)).toFixed(1)} %`;
  console.log(`${work.name.padEnd(22)}${a.toFixed(0).padStart(10)}${b.toFixed(0).padStart(10)}${part.padStart(9)}`);
}
const end = newTask();
await fput(end, opened.file);
await dput(end, opened.dentry);
await kill_sb(sb);
