/** What tests of trees need: a device in memory, blocks to take, and a handle. */
import type { BlockDevice } from '../../../src/block/block-device.js';
import { invalidate_bdev } from '../../../src/block/buffer-cache.js';
import type { BufferHead } from '../../../src/block/buffer-head.js';
import { sync_blockdev } from '../../../src/block/buffer-writeback.js';
import { memoryDevice } from '../../../src/block/memory-device.js';
import { checkTree, type Problem, type TreeVisitor } from '../../../src/latch/btree/check.js';
import type { TreeFormat } from '../../../src/latch/btree/node.js';
import { BODY_BYTES, type BTree, type TreeHost } from '../../../src/latch/btree/tree.js';
import { NoJournal } from '../../../src/latch/journal/none.js';
import type { FrozenTrigger, Handle } from '../../../src/latch/journal/types.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { type TestMachine, testMachine } from '../../block/machine.js';

export interface HostOptions {
  readonly bodyBytes?: number;
  readonly bdev?: BlockDevice;
  readonly blocks?: number;
}

/** Blocks in use are counted here instead of in a bitmap; there can be few. */
export class TestHost implements TreeHost {
  readonly machine: TestMachine;
  readonly task: Task;
  readonly bdev: BlockDevice;
  readonly ino = 77;
  readonly seed = 0x1234;
  readonly bodyBytes: number;
  readonly handle: Handle;
  readonly used = new Set<number>();
  /** Blocks that were dirtied through `counting`; a test empties it. */
  readonly dirtied = new Set<number>();
  /** How many blocks may be in use. */
  limit = Number.POSITIVE_INFINITY;
  readonly #blocks: number;
  #next = 1;

  constructor(options: HostOptions = {}, machine: TestMachine = testMachine()) {
    this.machine = machine;
    this.task = machine.task();
    this.#blocks = options.blocks ?? 1 << 20;
    this.bdev = options.bdev ?? memoryDevice(this.#blocks * 4096, machine.sched, machine.validator);
    this.bodyBytes = options.bodyBytes ?? BODY_BYTES;
    const handle = new NoJournal(this.bdev, async () => undefined).start(this.task, 1000);
    this.handle = handle;
  }

  /** The handle, with which what is dirtied is noted. */
  get counting(): Handle {
    const { handle } = this;
    return Object.assign(Object.create(handle), {
      dirty_metadata: (task: Task, bh: BufferHead, frozen?: FrozenTrigger): void => {
        this.dirtied.add(bh.b_blocknr);
        handle.dirty_metadata(task, bh, frozen);
      },
      get_write_access: handle.get_write_access.bind(handle),
      forget: handle.forget.bind(handle),
      restart: handle.restart.bind(handle),
    });
  }

  allocate(_task: Task, _handle: Handle, goal: number | undefined): number {
    return this.take(goal);
  }

  take(goal?: number): number {
    if (this.used.size >= this.limit) throw errno('ENOSPC');
    let block = goal ?? this.#next;
    while (this.used.has(block)) block = (block % (this.#blocks - 1)) + 1;
    this.used.add(block);
    this.#next = block + 1;
    return block;
  }

  free(_task: Task, _handle: Handle, block: number): void {
    if (!this.used.delete(block)) throw new Error(`block ${block} is freed, but it is not in use`);
  }

  root_access(): void {}

  root_changed(): void {}

  /** Forget everything that is in memory only. */
  async dropCaches(): Promise<void> {
    await sync_blockdev(this.task, this.bdev);
    invalidate_bdev(this.bdev);
  }

  /** References that somebody has not given back. */
  get referenced(): number {
    this.bdev.buffers.shrink(0);
    let count = 0;
    for (let block = 0; block < Math.min(this.#blocks, 5000); block++) {
      const bh = this.bdev.buffers.find(block);
      if (bh === undefined) continue;
      count += bh.b_count - 1;
      this.bdev.buffers.put(bh);
    }
    return count;
  }
}

/** An empty root of `bytes`. */
export function emptyRoot(format: TreeFormat, bytes: number): Buffer {
  const root = Buffer.alloc(bytes);
  root[1] = format.kind;
  root.writeUInt16LE(bytes, 4);
  return root;
}

/** What a check tells, and what is wrong with the blocks that the tree is said to have. */
export async function problemsIn(
  host: TestHost,
  check: (visitor: Pick<TreeVisitor, 'problem' | 'node'>) => Promise<void>,
): Promise<string[]> {
  const problems: string[] = [];
  const seen = new Set<number>();
  await check({
    problem: ({ block, message }: Problem) => problems.push(`${block}: ${message}`),
    node: (block) => {
      if (seen.has(block)) problems.push(`${block}: twice in the tree`);
      seen.add(block);
      if (!host.used.has(block)) problems.push(`${block}: in the tree, but free`);
      return true;
    },
  });
  for (const block of host.used) if (!seen.has(block)) problems.push(`${block}: in use, but not in the tree`);
  return problems;
}

/** What is wrong with a tree, and with the blocks that it is said to have. */
export function problemsOf(host: TestHost, tree: BTree): Promise<string[]> {
  return problemsIn(host, (visitor) =>
    checkTree(host.task, host, tree.format, tree.root.data, 1 << 20, { ...visitor, record: () => {} }),
  );
}
