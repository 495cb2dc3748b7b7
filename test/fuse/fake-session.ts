// A session without a kernel: a transport that hands requests in and collects replies, over a latch filesystem in memory.

import { blkdev_get, blkdev_put } from '../../src/block/block-device.js';
import { type FaultPolicy, faultyDevice } from '../../src/block/faulty-device.js';
import { memoryDevice } from '../../src/block/memory-device.js';
import { newMachine } from '../../src/cli/machine.js';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import type { SuperBlock } from '../../src/fs/super-block.js';
import { Gather } from '../../src/fuse/gather.js';
import { INIT } from '../../src/fuse/protocol/flags.js';
import { Message, OUT_HEADER, type U64 } from '../../src/fuse/protocol/message.js';
import { isOneWay, Opcode } from '../../src/fuse/protocol/opcodes.js';
import { Out } from '../../src/fuse/protocol/out.js';
import { Session } from '../../src/fuse/session.js';
import type { CacheMode } from '../../src/fuse/session-options.js';
import type { Transport } from '../../src/fuse/transport.js';
import { mkfs } from '../../src/latch/mkfs.js';
import { latch_fs_type } from '../../src/latch/super.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Task } from '../../src/sched/task.js';
import { type HeaderFields, type Piece, request, u32, u64 } from './request.js';

/** What a request was answered with: a positive errno or 0, and the bytes after the header. */
export interface Reply {
  readonly error: number;
  readonly body: Buffer;
}

/** What a filesystem lies on. */
export interface On {
  /** Bytes of page cache. */
  readonly pageCache?: number;
  /** What its device does wrong. */
  readonly policy?: FaultPolicy;
}

class FakeTransport implements Transport {
  readonly out = new Out(1 << 18);
  readonly data = new Gather();
  readonly fd = -1;
  outstanding = 0;
  /** Requests given out and not answered, by id. */
  readonly waiting = new Map<U64, (reply: Reply) => void>();
  /** Answers nobody waits for. */
  readonly stray: U64[] = [];
  readonly notified: number[] = [];

  receive(): number {
    return -1;
  }
  take(): Message {
    return Message.from(Buffer.alloc(8));
  }
  give(message: Message): void {
    message.held = false;
  }
  reply(unique: U64, size: number): number {
    return this.#answer(unique, 0, Buffer.from(this.out.bytes.subarray(OUT_HEADER, OUT_HEADER + size)));
  }
  replyError(unique: U64, errno: number): number {
    return this.#answer(unique, errno, Buffer.alloc(0));
  }
  replyData(unique: U64, size: number): number {
    const body = Buffer.alloc(size + this.data.size);
    this.out.bytes.copy(body, 0, OUT_HEADER, OUT_HEADER + size);
    this.data.copyAll(body, size);
    this.data.clear();
    return this.#answer(unique, 0, body);
  }
  notify(code: number): number {
    this.notified.push(code);
    return 0;
  }
  notifyData(code: number): number {
    this.data.clear();
    return this.notify(code);
  }
  notifyLater(code: number): Promise<boolean> {
    this.data.clear();
    this.notify(code);
    return Promise.resolve(true);
  }
  close(): void {}

  #answer(unique: U64, error: number, body: Buffer): number {
    const resolve = this.waiting.get(unique);
    this.waiting.delete(unique);
    if (resolve === undefined) this.stray.push(unique);
    else resolve({ error, body });
    return 0;
  }
}

export class FakeKernel {
  readonly transport = new FakeTransport();
  readonly session: Session;
  readonly sb: SuperBlock;
  readonly violations: Violation[] = [];
  /** What the session logged as an error: bugs. */
  readonly errors: unknown[] = [];
  readonly #end: () => Promise<void>;
  #unique = 2;

  private constructor(sb: SuperBlock, cache: CacheMode, end: () => Promise<void>) {
    this.sb = sb;
    this.#end = end;
    const error = (...said: unknown[]): void => {
      this.errors.push(said);
    };
    const options = { cache, readOnly: false, generated: false, direct: cache === 'none', validity: 0 };
    this.session = new Session(this.transport, sb, options, { warn: () => undefined, error }, () => undefined);
  }

  /** A fresh filesystem, and a session that has been through INIT. */
  static async boot(cache: CacheMode = 'none', offered = -1, on: On = {}): Promise<FakeKernel> {
    const violations: Violation[] = [];
    const sink = (violation: Violation): void => {
      violations.push(violation);
    };
    const pageCache = on.pageCache === undefined ? {} : { pageCache: on.pageCache };
    const machine = newMachine({ enforce: 'warn', stacks: false, sink, ...pageCache });
    const task = new Task(machine.sched, machine.validator, { comm: 'boot' });
    const memory = memoryDevice(64 << 20, machine.sched, machine.validator);
    const { policy } = on;
    const bdev = policy === undefined ? memory : faultyDevice(memory, policy, machine.sched, machine.validator);
    await blkdev_get(task, bdev, 'write', machine);
    await mkfs(task, bdev, {});
    const sb = await vfs_mount(machine, latch_fs_type, bdev, 0);
    sb.kernelChecksPermissions = true;
    const kernel = new FakeKernel(sb, cache, async () => {
      await kernel.session.shutdown();
      const busy = await kill_sb(sb);
      if (busy > 0) kernel.errors.push(`${busy} inodes were still in use`);
      await blkdev_put(task, bdev);
    });
    violations.push = (...more) => kernel.violations.push(...more);
    const flags = offered === -1 ? 0x7fffffff & ~INIT.MAP_ALIGNMENT : offered;
    await kernel.send(Opcode.INIT, [u32(7, 45, 1 << 20, flags, 0xffffffff), Buffer.alloc(44)]);
    return kernel;
  }

  /** Send one well-formed request. @returns its reply; of what has none, at once */
  send(opcode: number, body: Piece[], fields: HeaderFields = {}): Promise<Reply> {
    this.#unique += 2;
    return this.deliver(request(opcode, body, { unique: this.#unique, ...fields }));
  }

  /** As send, and the id by which it can be interrupted. */
  start(
    opcode: number,
    body: Piece[],
    fields: HeaderFields = {},
  ): { readonly unique: number; readonly reply: Promise<Reply> } {
    const reply = this.send(opcode, body, fields);
    return { unique: this.#unique, reply };
  }

  /** Hand any bytes in. The id is looked for where it would be. */
  deliver(message: Message): Promise<Reply> {
    const none = { error: 0, body: Buffer.alloc(0) };
    if (message.length < 16) {
      this.session.handle(message);
      return Promise.resolve(none);
    }
    const unique = message.u32[2] ?? 0;
    if (isOneWay(message.u32[1] ?? 0)) {
      this.session.handle(message);
      return Promise.resolve(none);
    }
    return new Promise((resolve) => {
      this.transport.waiting.set(unique, resolve);
      this.session.handle(message);
    });
  }

  interrupt(unique: number): Promise<Reply> {
    return new Promise((resolve) => {
      this.transport.waiting.set(unique + 1, resolve);
      this.session.handle(request(Opcode.INTERRUPT, [u64(unique)], { unique: unique + 1 }));
      this.transport.waiting.delete(unique + 1);
      resolve({ error: 0, body: Buffer.alloc(0) });
    });
  }

  /** Unmount. */
  end(): Promise<void> {
    return this.#end();
  }
}
